/** Checks of what programs of the verbs API say between two places. */
import type { Test } from 'tap';

import { measuredSizes } from '../programs/perftest.js';
import { type Place, runBetween } from './place.js';

export const PINGPONGS = [
  ...['ibv_rc_pingpong -c', 'ibv_rc_pingpong -c -e', 'ibv_rc_pingpong -c -N'],
  ...['ibv_uc_pingpong -c', 'ibv_uc_pingpong -c -e'],
  ...['ibv_ud_pingpong -c -s 1024', 'ibv_ud_pingpong -c -e -s 1024'],
  ...['ibv_srq_pingpong -c -q 4', 'ibv_srq_pingpong -c -q 4 -e'],
];
export const MEASURING = [
  ...['ib_send_lat', 'ib_send_lat -e', 'ib_send_lat -c UC', 'ib_send_lat -c UD'],
  ...['ib_send_lat -I 64 -s 64', 'ib_send_lat -s 65536', 'ib_send_lat --use_old_post_send'],
  ...['ib_send_bw', 'ib_send_bw -e', 'ib_send_bw -c UC', 'ib_send_bw -c UD', 'ib_send_bw -b -q 2'],
  ...['ib_write_lat', 'ib_write_lat -c UC', 'ib_write_lat -s 65536'],
  ...['ib_write_bw', 'ib_write_bw -b -q 2', 'ib_write_bw -c UC'],
  ...['ib_read_lat', 'ib_read_lat -e', 'ib_read_bw', 'ib_read_bw -b -o 4'],
  ...['ib_atomic_lat', 'ib_atomic_bw', 'ib_atomic_bw -A CMP_AND_SWAP'],
];

/** Of ibverbs-utils: data comes back as it went. A program that finds wrong data says so and ends well even then. */
export function testPingpong(t: Test, line: string, server: Place, client: Place): void {
  t.test(`${line} moves its data between ${client.name} and ${server.name}`, async (t) => {
    const outputs = await runBetween(t, line, server, client);
    if (outputs === undefined) return;
    t.match(outputs.client, /^\d+ bytes in [\d.]+ seconds/m);
    t.notMatch(outputs.server + outputs.client, /invalid data/);
  });
}

/** Of perftest: a figure for each size. */
export function testMeasuring(t: Test, line: string, server: Place, client: Place): void {
  t.test(`${line} measures between ${client.name} and ${server.name}`, async (t) => {
    const outputs = await runBetween(t, line, server, client);
    if (outputs === undefined) return;
    const sizes = new Set(measuredSizes(outputs.client));
    const all = 23; // 2 to 2^23
    t.equal(sizes.size, line.includes(' -a') ? all : 1, 'it has a result for each size', {
      output: outputs.client,
    });
  });
}
