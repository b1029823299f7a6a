/** Reliable traffic between the software HCA and Soft-RoCE, of which each loses, doubles and delays what it sends. */
import t from 'tap';

import { inGuest } from '../../bench/rxe/guests.js';
import { chooseSeed } from '../seeded-random.js';
import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { startPeer } from './guests.js';
import { joinHost, startHostPeer, withoutHost } from './host.js';

/** What tc-netem(8) is told in the guest, and the software HCA here. */
const HARM = 'loss 3% duplicate 3% delay 2ms reorder 10% 50%';
const FAULTS = 'loss=0.03,duplication=0.03,corruption=0.02,delay=0.1,delay-us=2000';

if (withoutHost !== false) {
  t.test('the software HCA and Soft-RoCE', { skip: withoutHost }, async () => {});
} else {
  const neighbourhood = await joinHost(t);
  const { guest } = neighbourhood;
  await inGuest(guest, `tc qdisc add dev eth0 root netem ${HARM}`);
  const faults = `${FAULTS},seed=${chooseSeed()}`;
  t.comment(faults);
  const here = startHostPeer(t, neighbourhood, { VIADUCT_FAULTS: faults });
  const there = startPeer(t, guest);
  takeRoutes([
    { name: 'software HCA to Soft-RoCE', at: { a: here, b: there }, path: 'packets' },
    { name: 'Soft-RoCE to software HCA', at: { a: there, b: here }, path: 'packets' },
  ]);
  const { testHarmed } = await import('./harm.js');
  testHarmed();
  t.test('the guest has lost packets', async (t) => {
    t.match(await inGuest(guest, 'tc -s qdisc show dev eth0'), /\(dropped [1-9]/);
  });
}
