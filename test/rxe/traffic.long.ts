/** The whole traffic suite over Soft-RoCE: within a process, between two of one guest, and between two guests. */
import t from 'tap';

import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { bootGuests, startPeer, TRAFFIC_SUITE, withoutRxe } from './guests.js';

if (withoutRxe !== false) {
  t.test('the traffic suite over Soft-RoCE', { skip: withoutRxe }, async () => {});
} else {
  const [here, there] = await bootGuests(t);
  const one = startPeer(t, here);
  takeRoutes([
    { name: 'one process', at: { a: one, b: one } },
    { name: 'two processes', at: { a: one, b: startPeer(t, here) } },
    { name: 'two machines', at: { a: one, b: startPeer(t, there) } },
  ]);
  for (const name of TRAFFIC_SUITE) await import(`../verbs/traffic/${name}.test.js`);
}
