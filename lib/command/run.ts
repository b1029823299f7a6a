/** `viaduct run`: starts a job, passes signals on to it, and ends with its status. */
import { constants } from 'node:os';

import { HostPlace, Job, ThreadPlace, type JobEvent, type Place } from '../job/index.js';
import { endWithReader } from './broken-pipe.js';
import { help } from './run-help.js';
import { parseRunOptions, type RunOptions } from './run-options.js';

const FORWARDED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** Passed on without a meaning for the job. */
const MEANINGLESS: readonly NodeJS.Signals[] = ['SIGUSR1', 'SIGUSR2'];

/** npm and npx pass on a Ctrl-C that the terminal has sent us already: that is not a second one. */
const ECHO_MS = 250;

function report(event: JobEvent): void {
  if (event.type === 'failed') process.stderr.write(`viaduct run: ${event.failure.message}\n`);
}

async function placeFor(options: RunOptions): Promise<Place> {
  const { network, ranksPerVm } = options;
  if (options.threads) return new ThreadPlace();
  if (options.vm === undefined) return new HostPlace({ network });
  const cluster = await import('../cluster/index.js');
  return new cluster.VmPlace({ driver: options.vm, size: options.job.size, network, ranksPerVm });
}

/** Runs the command; resolves to its exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = parseRunOptions(args);
  if (options === 'help') {
    process.stdout.write(help);
    return 0;
  }
  endWithReader(false);
  const job = Job.start({
    ...options.job,
    place: await placeFor(options),
    stdin: 'inherit',
    // Who reads JSON finds the failure there.
    ...(options.job.json === true ? {} : { onEvent: report }),
  });

  let interruptedBy: NodeJS.Signals | undefined;
  let interruptedAt = 0;
  const forward = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (interruptedBy === signal && now - interruptedAt < ECHO_MS) return;
    interruptedBy ??= signal;
    interruptedAt = now;
    job.interrupt(signal);
  };
  const passOn = (signal: NodeJS.Signals): void => job.signal(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  for (const signal of MEANINGLESS) process.on(signal, passOn);
  const { exitCode } = await job.result;
  for (const signal of FORWARDED) process.off(signal, forward);
  for (const signal of MEANINGLESS) process.off(signal, passOn);
  // Output that nobody took would keep an interrupted launcher alive.
  if (interruptedBy !== undefined) process.exit(128 + constants.signals[interruptedBy]);
  return exitCode;
}
