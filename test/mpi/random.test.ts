/** Random operations over some ranks, checked against the rules of matching. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';
import { chooseSeed } from '../seeded-random.js';

const program = fileURLToPath(new URL('programs/random-matching.js', import.meta.url));
const seed = chooseSeed();
t.comment(`SEED=${seed}`);

const runs = [
  { size: 1, steps: 1500, env: {} },
  { size: 2, steps: 1500, env: { VIADUCT_LONG_MESSAGES: 'fragments' } },
  { size: 2, steps: 1500, env: { VIADUCT_LONG_MESSAGES: 'single-copy' } },
  { size: 3, steps: 1000, env: { VIADUCT_UNEXPECTED_BYTES: '3000' } },
  { size: 5, steps: 700, env: {} },
  { size: 8, steps: 500, env: { VIADUCT_UNEXPECTED_BYTES: '30000' } },
];

for (const [index, { size, steps, env }] of runs.entries()) {
  const how = Object.entries(env)
    .map(([name, value]) => `, ${name}=${value}`)
    .join('');
  t.test(`${steps} random operations on each of ${size} ranks${how}`, async (t) => {
    const stderr = new Lines();
    const { exitCode } = await runJob({
      size,
      command: process.execPath,
      args: [program, String(seed + index), String(steps)],
      env: { ...process.env, ...env },
      stdout: new Lines(),
      stderr,
    });
    t.equal(stderr.text, '');
    t.equal(exitCode, 0);
  });
}
