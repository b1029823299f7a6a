/** Unmodified programs on both: over the software HCA by `viaduct exec`, and on Soft-RoCE in a guest. */
import t from 'tap';

import { joinHost, withoutHost } from './host.js';
import { guestPlace, hostPlace, type Place } from './place.js';
import { MEASURING, PINGPONGS, testMeasuring, testPingpong } from './programs.js';

if (withoutHost !== false) {
  t.test('programs between the software HCA and Soft-RoCE', { skip: withoutHost }, async () => {});
} else {
  const neighbourhood = await joinHost(t);
  const [here, there] = [await hostPlace(neighbourhood), guestPlace(neighbourhood.guest)];
  // Each has its server at the other place than the one before.
  const places = (at: number): [server: Place, client: Place] =>
    at % 2 === 0 ? [here, there] : [there, here];
  for (const [at, line] of PINGPONGS.entries()) testPingpong(t, `${line} -n 50`, ...places(at));
  for (const [at, line] of MEASURING.entries()) testMeasuring(t, `${line} -n 50`, ...places(at));
}
