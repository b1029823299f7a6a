/** Unmodified programs on both: over the software HCA by `viaduct exec`, and on Soft-RoCE in a guest, in both directions. */
import t from 'tap';

import { joinHost, withoutHost } from './host.js';
import { guestPlace, hostPlace } from './place.js';
import { MEASURING, PINGPONGS, testMeasuring, testPingpong } from './programs.js';

if (withoutHost !== false) {
  t.test('programs between the software HCA and Soft-RoCE', { skip: withoutHost }, async () => {});
} else {
  const neighbourhood = await joinHost(t);
  const [here, there] = [await hostPlace(neighbourhood), guestPlace(neighbourhood.guest)];
  for (const [server, client] of [
    [here, there],
    [there, here],
  ] as const) {
    for (const line of PINGPONGS) testPingpong(t, `${line} -n 50`, server, client);
    for (const line of MEASURING) testMeasuring(t, `${line} -n 50`, server, client);
  }
}
