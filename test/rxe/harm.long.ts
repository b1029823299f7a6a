/** Reliable traffic over a network between guests that loses, doubles and reorders: nothing is lost, nothing comes twice. */
import t from 'tap';

import { inGuest } from '../../bench/rxe/guests.js';
import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { bootGuests, startPeer, withoutRxe } from './guests.js';

/** What tc-netem(8) is told, at both ends. */
const HARM = 'loss 3% duplicate 3% delay 2ms reorder 10% 50%';

if (withoutRxe !== false) {
  t.test('a network that harms what it carries', { skip: withoutRxe }, async () => {});
} else {
  const guests = await bootGuests(t);
  const [a, b] = [startPeer(t, guests[0]), startPeer(t, guests[1])];
  for (const guest of guests) await inGuest(guest, `tc qdisc add dev eth0 root netem ${HARM}`);
  takeRoutes([{ name: HARM, at: { a, b } }]);
  const { testHarmed } = await import('./harm.js');
  testHarmed();
  t.test('the network has lost packets of both', async (t) => {
    for (const guest of guests) {
      const counters = await inGuest(guest, 'tc -s qdisc show dev eth0');
      t.match(counters, /\(dropped [1-9]/);
    }
  });
}
