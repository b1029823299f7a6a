/** Unmodified programs of Debian's ibverbs-utils and perftest over Soft-RoCE, between two guests. */
import t from 'tap';

import { bootGuests, withoutRxe } from './guests.js';
import { testMeasuring, testPingpong } from './programs.js';

const PINGPONGS = [
  ...['ibv_rc_pingpong -c', 'ibv_rc_pingpong -c -e', 'ibv_rc_pingpong -c -N'],
  ...['ibv_uc_pingpong -c', 'ibv_uc_pingpong -c -e'],
  ...['ibv_ud_pingpong -c -s 1024', 'ibv_ud_pingpong -c -e -s 1024'],
  ...['ibv_srq_pingpong -c -q 4', 'ibv_srq_pingpong -c -q 4 -e'],
];
const MEASURING = [
  ...['ib_send_lat', 'ib_send_lat -e', 'ib_send_lat -c UC', 'ib_send_lat -c UD'],
  ...['ib_send_lat -I 64 -s 64', 'ib_send_lat -s 65536', 'ib_send_lat --use_old_post_send'],
  ...['ib_send_bw', 'ib_send_bw -e', 'ib_send_bw -c UC', 'ib_send_bw -c UD', 'ib_send_bw -b -q 2'],
  ...['ib_write_lat', 'ib_write_lat -c UC', 'ib_write_lat -s 65536'],
  ...['ib_write_bw', 'ib_write_bw -b -q 2', 'ib_write_bw -c UC'],
  ...['ib_read_lat', 'ib_read_lat -e', 'ib_read_bw', 'ib_read_bw -b -o 4'],
  ...['ib_atomic_lat', 'ib_atomic_bw', 'ib_atomic_bw -A CMP_AND_SWAP'],
];

if (withoutRxe !== false) {
  t.test('programs over Soft-RoCE', { skip: withoutRxe }, async () => {});
} else {
  const guests = await bootGuests(t);
  for (const line of PINGPONGS) testPingpong(t, guests, `${line} -n 50`);
  for (const line of MEASURING) testMeasuring(t, guests, `${line} -n 50`);
  testMeasuring(t, guests, 'ib_write_bw -a -n 5');
  testMeasuring(t, guests, 'ib_read_bw -s 1048576 -n 5');
  testMeasuring(t, guests, 'ib_send_bw -s 1048576 -n 5');
}
