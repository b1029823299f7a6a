/** Programs of Debian's perftest, unmodified, over the software HCA whose messages all travel as packets. */
import t from 'tap';

import { testMeasuring } from './perftest.js';
import { environmentOf, openSurroundings } from './surroundings.js';

const LINES = [
  // A thread of the library completes what a sleeper waits for, and the next request is posted at once.
  ...['ib_read_lat -e -n 1000', 'ib_send_lat -e -n 1000', 'ib_send_lat -c UD -e'],
  ...['ib_send_bw -b -q 2', 'ib_write_bw -b -q 2', 'ib_read_bw -b -o 4'],
  // No stream of sends here: packets of UC may be lost on the way, and ib_send_bw counts them for ever.
  ...['ib_send_lat -c UC', 'ib_write_bw -c UC', 'ib_write_lat', 'ib_atomic_bw -A CMP_AND_SWAP'],
];

const { enter } = await openSurroundings(t);
const plain = await environmentOf('--packets');

testMeasuring(
  t,
  { enter, env: { plain, remapped: plain } },
  LINES.map((line) => ({
    line,
    // The index of the loopback's address, after the two that mean the host itself.
    words: [...line.split(' '), '-x', '2'],
    remap: false,
    buffers: 'in packets',
  })),
);
