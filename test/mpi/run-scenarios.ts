/** Runs all scenarios in one job and reports each as a test of its own. */
import { fileURLToPath } from 'node:url';

import type { Test } from 'tap';

import { runJob, type Place } from '../../lib/job/index.js';
import { Lines } from '../lines.js';
import { chooseSeed } from '../seeded-random.js';
import { allScenarios } from './scenarios/index.js';
import { suits } from './scenarios/scenario.js';

const program = fileURLToPath(new URL('programs/scenarios.js', import.meta.url));

interface Report {
  readonly rank: number;
  readonly name: string;
  readonly message?: string;
}

/**
 * @param env variables that choose how the ranks speak to each other.
 * @param by a command that runs each rank, in place of Node.js alone.
 */
export async function runScenarios(
  t: Test,
  size: number,
  env: Record<string, string> = {},
  place?: Place,
  by: readonly [string, ...string[]] = [process.execPath],
): Promise<void> {
  const [command, ...args] = by;
  const seed = chooseSeed();
  t.comment(`SEED=${seed}`);
  const stdout = new Lines();
  const stderr = new Lines();
  const { exitCode } = await runJob({
    size,
    command,
    args: [...args, program, String(seed)],
    env: { ...process.env, ...env },
    label: false,
    stdout,
    stderr,
    ...(place === undefined ? {} : { place }),
  });
  const reports = stdout.text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Report);
  for (const scenario of allScenarios) {
    const { name, ranks } = scenario;
    if (size < ranks) continue;
    if (!suits(scenario, env)) {
      t.pass(name, { skip: 'it needs another eager threshold' });
      continue;
    }
    const ofThis = reports.filter((report) => report.name === name);
    const failures = ofThis.filter(({ message }) => message !== undefined);
    t.ok(
      failures.length === 0 && ofThis.length === size,
      name,
      failures.length === 0
        ? { ranks: size, heardFrom: ofThis.map(({ rank }) => rank) }
        : { failures },
    );
  }
  t.equal(exitCode, 0, 'all ranks finalize');
  t.equal(stderr.text, '', 'nobody complains');
}
