/**
 * The addon over the system's libibverbs, on a device of a real kernel: Soft-RoCE in two guests. `npm run test:rxe` runs
 * all that there is.
 */
import t from 'tap';

import { inGuest, RXE_DEVICE } from '../../bench/rxe/guests.js';
import { packageRoot } from '../../lib/addon/index.js';
import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { bootGuests, startPeer, withoutRxe } from './guests.js';
import { guestPlace } from './place.js';
import { testMeasuring, testPingpong } from './programs.js';

t.setTimeout(120_000);

if (withoutRxe !== false) {
  t.test('verbs on Soft-RoCE', { skip: withoutRxe }, async () => {});
} else {
  const [here, there] = await bootGuests(t);

  const peer = startPeer(t, here);
  takeRoutes(
    [
      { name: 'one machine', at: { a: peer, b: peer } },
      { name: 'two machines', at: { a: peer, b: startPeer(t, there) } },
    ],
    /^RC: .* of one piece by ibv_post_send$|^RC .* moves messages/,
  );
  // Before any test of this file: tap ends with the last one that it knows of.
  await import('../verbs/traffic/opcodes.test.js');
  await import('../verbs/traffic/sizes.test.js');

  t.test("`viaduct devices` lists the kernel's device before the software HCA", async (t) => {
    const command = `${process.execPath} ${packageRoot}/dist/lib/command/main.js devices`;
    const named = [...(await inGuest(here, command)).matchAll(/^hca_id:\s+(\S+)$/gm)];
    t.same(
      named.map(([, name]) => name),
      [RXE_DEVICE, 'softhca0'],
    );
  });

  testPingpong(t, 'ibv_rc_pingpong -c -n 20', guestPlace(there), guestPlace(here));
  testMeasuring(t, 'ib_write_lat -n 50', guestPlace(there), guestPlace(here));
}
