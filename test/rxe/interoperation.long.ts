/**
 * The software HCA of this host and the kernel's Soft-RoCE of a guest, by RoCEv2 packets on one network: all sizes, path
 * MTUs and address families, and the whole traffic suite, in both directions.
 */
import t from 'tap';

import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { startPeer, TRAFFIC_SUITE } from './guests.js';
import { joinHost, startHostPeer, withoutHost } from './host.js';

if (withoutHost !== false) {
  t.test('the software HCA and Soft-RoCE', { skip: withoutHost }, async () => {});
} else {
  const neighbourhood = await joinHost(t);
  const here = startHostPeer(t, neighbourhood);
  const there = startPeer(t, neighbourhood.guest);
  takeRoutes([
    { name: 'software HCA to Soft-RoCE', at: { a: here, b: there }, path: 'packets' },
    { name: 'Soft-RoCE to software HCA', at: { a: there, b: here }, path: 'packets' },
  ]);
  await import('./matrix.js');
  for (const name of TRAFFIC_SUITE) await import(`../verbs/traffic/${name}.test.js`);
}
