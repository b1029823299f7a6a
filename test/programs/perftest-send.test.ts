/** Sending by the programs of Debian's perftest, unmodified, over the software HCA. */
import t from 'tap';

import { testMeasuring, testMoving } from './perftest.js';
import { openSurroundings } from './surroundings.js';
import { rowsOf } from './table.js';

const QUICK = `
  ib_send_lat
  ib_send_lat  -e
  ib_send_lat  --use_old_post_send -I 64 -s 64
  ib_send_lat  -e -s 65536
  ib_send_lat  -c UC -s 4096
  ib_send_lat  -c UD -e
  ib_send_lat  -c XRC
  ib_send_lat  --use-srq -m 256 -s 1024
  ib_send_bw   -q 4 -b -e
  ib_send_bw   -l 10 --recv_post_list=10
  ib_send_bw   -c UC -a -n 10
  ib_send_bw   -c UD -q 2 -b
  ib_send_bw   -c XRC -q 4 -e
  ib_send_bw   --use_old_post_send -I 128 -s 128 -Q 1
  ib_send_bw   -r 1
  ib_send_bw   -a -n 10
`;
const LONG = [
  ...['RC', 'UC', 'UD'].flatMap((transport) =>
    ['', ' --use_old_post_send'].flatMap((post) =>
      ['', ' -e'].flatMap((wait) => [
        `ib_send_lat -c ${transport}${post}${wait}`,
        `ib_send_bw -c ${transport}${post}${wait} -b -q 2`,
      ]),
    ),
  ),
  'ib_send_bw -a -n 20',
  'ib_send_bw -c XRC',
  'ib_send_bw --reversed',
  'ib_send_bw -x 1',
  'ib_send_lat -x 1 -c UD',
  'ib_send_bw --inline_recv=32 -s 32',
  'ib_send_bw -b --report-both',
  'ib_send_bw --use-srq -q 4 -e',
  'ib_send_lat -s 1048576 -n 50',
  'ib_send_lat -D 1',
].join('\n');

const surroundings = await openSurroundings(t);
testMeasuring(t, surroundings, rowsOf(QUICK, LONG));
testMoving(t, surroundings, [
  'ib_send_bw',
  'ib_send_bw -e --use_old_post_send',
  'ib_send_bw -c UC',
  'ib_send_bw -c UD',
]);
