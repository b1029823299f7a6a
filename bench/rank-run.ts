/** Starts the rank programs by the public command, as a user would: `viaduct run -n 2 -- node …`. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { packageRoot } from '../lib/addon/index.js';
import { parseRankResult } from './measurement.js';
import type { RankResult } from './measurement.js';
import type { RankRun } from './plan.js';
import { runLines } from './process-lines.js';

const commandPath = join(packageRoot, 'dist', 'lib', 'command', 'main.js');
const rankPath = join(packageRoot, 'dist', 'bench', 'ranks', 'main.js');
/** Longer than any run of all sizes takes, so that a hang ends. */
const timeoutSeconds = 600;

/** A TCP port that is free on the host now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @throws Error with what the ranks said when they fail, or when a result is missing */
export async function runRanks(
  run: RankRun,
  samples: number,
  onResult: (result: RankResult) => void,
  signal: AbortSignal,
): Promise<void> {
  const what = `viaduct run${run.vm ? ' --vm' : ''}${run.channel === undefined ? '' : ` by ${run.channel}`} of ${run.steps.map((step) => `${step.transport} ${step.benchmark}`).join(', ')}`;
  const network = run.steps.some((step) => step.transport === 'tcp');
  let missing = run.steps.reduce((sum, step) => sum + step.sizes.length, 0);
  await runLines(
    what,
    process.execPath,
    [
      commandPath,
      'run',
      ...(run.vm ? ['--vm'] : []),
      ...(network ? ['--network'] : []),
      ...['-n', '2', '--no-label', '--timeout', String(timeoutSeconds)],
      '--',
      ...[process.execPath, rankPath, '--samples', String(samples)],
      ...(network ? ['--port', String(await freePort())] : []),
      ...run.steps.map((step) => [step.transport, step.benchmark, ...step.sizes].join(',')),
    ],
    {
      signal,
      ...(run.channel === undefined
        ? {}
        : { env: { ...process.env, VIADUCT_CHANNEL: run.channel } }),
      onLine: (line) => {
        onResult(parseRankResult(line));
        missing--;
      },
    },
  );
  if (missing > 0) throw new Error(`${what} ended without ${missing} of its results`);
}
