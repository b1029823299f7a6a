/** Unmodified programs of Debian's ibverbs-utils and perftest over Soft-RoCE, between two guests. */
import t from 'tap';

import { bootGuests, withoutRxe } from './guests.js';
import { guestPlace, type Place } from './place.js';
import { MEASURING, PINGPONGS, testMeasuring, testPingpong } from './programs.js';

if (withoutRxe !== false) {
  t.test('programs over Soft-RoCE', { skip: withoutRxe }, async () => {});
} else {
  const [server, client] = (await bootGuests(t)).map(guestPlace) as [Place, Place];
  for (const line of PINGPONGS) testPingpong(t, `${line} -n 50`, server, client);
  for (const line of MEASURING) testMeasuring(t, `${line} -n 50`, server, client);
  testMeasuring(t, 'ib_write_bw -a -n 5', server, client);
  testMeasuring(t, 'ib_read_bw -s 1048576 -n 5', server, client);
  testMeasuring(t, 'ib_send_bw -s 1048576 -n 5', server, client);
}
