/**
 * The software HCA of this host and the kernel's Soft-RoCE of a guest, by RoCEv2 packets on one network: the whole
 * traffic suite in both directions, all sizes, path MTUs and address families, programs, and a network that does harm.
 */
import { execFileSync } from 'node:child_process';

import t from 'tap';

import { bootGuest } from '../../bench/rxe/guests.js';
import { VirtualLink } from '../../lib/vm/index.js';
import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { Peer } from '../verbs/traffic/peer.js';
import { startPeer, TRAFFIC_SUITE, withoutRxe, withoutTap } from './guests.js';

const HOST = { address: '10.86.0.254', sixth: 'fd86::fe' };
const skip = withoutRxe || withoutTap;

if (skip !== false) {
  t.test('the software HCA and Soft-RoCE', { skip }, async () => {});
} else {
  const link = VirtualLink.create(1, { hostAddress: `${HOST.address}/24` });
  t.teardown(() => link.close());
  const enter = ['nsenter', `--net=${link.namespacePath ?? ''}`, '--'] as const;
  const sixth = ['address', 'add', `${HOST.sixth}/64`, 'dev', 'viaduct0', 'nodad'];
  execFileSync('nsenter', [...enter.slice(1), 'ip', '-6', ...sixth]);
  const guest = await bootGuest(link.ends[0], 1);
  t.teardown(() => guest.vm.kill());

  const there = startPeer(t, guest);
  const here = Peer.start({ VIADUCT_LINK_LAYER: 'ethernet' }, [...enter, process.execPath]);
  t.teardown(() => here.close());
  takeRoutes([
    { name: 'software HCA to Soft-RoCE', at: { a: here, b: there }, path: 'packets' },
    { name: 'Soft-RoCE to software HCA', at: { a: there, b: here }, path: 'packets' },
  ]);
  await import('./matrix.js');
  for (const name of TRAFFIC_SUITE) await import(`../verbs/traffic/${name}.test.js`);
}
