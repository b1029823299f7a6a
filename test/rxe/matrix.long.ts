/** All sizes, path MTUs and both address families between two guests, and a network that harms what it carries. */
import t from 'tap';

import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { bootGuests, startPeer, withoutRxe } from './guests.js';

if (withoutRxe !== false) {
  t.test('messages over Soft-RoCE', { skip: withoutRxe }, async () => {});
} else {
  const guests = await bootGuests(t);
  const [a, b] = [startPeer(t, guests[0]), startPeer(t, guests[1])];
  takeRoutes([{ name: 'two machines', at: { a, b } }]);
  await import('./matrix.js');
}
