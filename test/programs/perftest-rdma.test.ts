/** RDMA and atomic operations by the programs of Debian's perftest, unmodified, over the software HCA. */
import t from 'tap';

import { testMeasuring, testMoving } from './perftest.js';
import { openSurroundings } from './surroundings.js';
import { rowsOf } from './table.js';

const QUICK = `
  ib_write_lat -I 220 -s 128
  ib_write_lat -c UC
  ib_write_lat -c XRC
  ib_write_bw  -q 4 -b --mr_per_qp
  ib_write_bw  --use_old_post_send -l 10
  ib_read_lat  -a -n 10
  ib_read_lat  -e
  ib_read_bw   -q 4 -b -o 16
  ib_read_bw   --use_old_post_send -l 10
  ib_atomic_lat
  ib_atomic_lat -e --use_old_post_send
  ib_atomic_bw -q 4 -b
  ib_atomic_bw -A CMP_AND_SWAP
`;
// Nothing completes at the receiver of an RDMA WRITE, so the programs that write have no events.
const LONG = [
  ...['ib_write', 'ib_write -c UC', 'ib_read', 'ib_read -e', 'ib_atomic', 'ib_atomic -e'].flatMap(
    (start) =>
      ['', ' --use_old_post_send'].flatMap((post) => {
        const program = (kind: string): string => start.replace(/ |$/, `_${kind} `) + post;
        const sizes = start.startsWith('ib_atomic') || start.endsWith('-e') ? '' : ' -a -n 20';
        return [program('lat'), `${program('bw')} -b -q 2`, program('bw') + sizes];
      }),
  ),
  'ib_write_bw -c XRC -b',
  'ib_read_bw -c XRC',
  'ib_write_bw -D 1',
  'ib_write_bw -Q 10 -t 64 -q 8',
  'ib_write_lat -s 65536',
].join('\n');

const surroundings = await openSurroundings(t);
testMeasuring(t, surroundings, rowsOf(QUICK, LONG));
testMoving(t, surroundings, ['ib_write_bw', 'ib_write_bw -c UC', 'ib_read_bw', 'ib_read_bw -l 4']);
