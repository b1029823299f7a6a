/** Checks of what programs of the verbs API say between two guests. */
import type { Test } from 'tap';

import type { Guest } from '../../bench/rxe/guests.js';
import { measuredSizes } from '../programs/perftest.js';
import { runBetween } from './guest-program.js';

/** Of ibverbs-utils: data comes back as it went. A program that finds wrong data says so and ends well even then. */
export function testPingpong(t: Test, guests: readonly [Guest, Guest], line: string): void {
  t.test(`${line} moves its data between two machines`, async (t) => {
    const outputs = await runBetween(t, ...guests, line);
    if (outputs === undefined) return;
    t.match(outputs.client, /^\d+ bytes in [\d.]+ seconds/m);
    t.notMatch(outputs.server + outputs.client, /invalid data/);
  });
}

/** Of perftest: a figure for each size. */
export function testMeasuring(t: Test, guests: readonly [Guest, Guest], line: string): void {
  t.test(`${line} measures between two machines`, async (t) => {
    const outputs = await runBetween(t, ...guests, line);
    if (outputs === undefined) return;
    const sizes = new Set(measuredSizes(outputs.client));
    const all = 23; // 2 to 2^23
    t.equal(sizes.size, line.includes(' -a') ? all : 1, 'it has a result for each size', {
      output: outputs.client,
    });
  });
}
