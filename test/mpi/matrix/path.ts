/** Each scenario, and random operations, on each way of the verbs channel by one path of the software HCA. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../../lib/job/index.js';
import { Lines } from '../../lines.js';
import { chooseSeed } from '../../seeded-random.js';
import { runScenarios } from '../run-scenarios.js';
import { EAGER_BYTES, LONG_PROTOCOLS, type PATHS, verbs } from '../verbs-ways.js';

const randomMatching = fileURLToPath(new URL('../programs/random-matching.js', import.meta.url));

/**
 * @param randomRanks ranks of the random operations.
 * @param thresholds which may be; all by default.
 */
export function testPath(
  path: keyof typeof PATHS,
  randomRanks: number,
  thresholds: readonly (typeof EAGER_BYTES)[number][] = EAGER_BYTES,
): void {
  const seed = chooseSeed();
  t.comment(`SEED=${seed}`);
  for (const longProtocol of LONG_PROTOCOLS) {
    for (const eagerBytes of thresholds) {
      const env = verbs(path, longProtocol, eagerBytes);
      const way = `${longProtocol}, up to ${eagerBytes} bytes whole`;
      t.test(`scenarios of two ranks: ${way}`, (t) => runScenarios(t, 2, env));
      t.test(`random operations of ${randomRanks} ranks: ${way}`, async (t) => {
        const stderr = new Lines();
        const { exitCode } = await runJob({
          size: randomRanks,
          command: process.execPath,
          args: [randomMatching, String(seed), '300'],
          env: { ...process.env, ...env },
          stdout: new Lines(),
          stderr,
        });
        t.equal(stderr.text, '');
        t.equal(exitCode, 0);
      });
    }
  }
}
