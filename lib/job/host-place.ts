/** Starts ranks as processes of this host, each under a guard of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

import { guarded, KILL_TREE } from './guard.js';
import { JobError } from './job-error.js';
import type { Place, RankExit, RankProcess, RankStart } from './place.js';
import { LAUNCHER_PID, NETWORK_ADDRESSES, PMI_DESCRIPTOR } from './rank-environment.js';

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'build it with `npm rebuild viaduct`',
  EMFILE: 'raise the limit of open files with `ulimit -n`',
  EAGAIN: 'raise the limit of processes with `ulimit -u`',
  E2BIG: 'shorten the arguments or the environment',
};

/** The first descriptor after the standard streams: a pipe of Node.js, which is a socket. */
const PMI_FD = 3;

function explain(error: unknown, guard: string): JobError {
  const { message, code = '', errno } = error as NodeJS.ErrnoException;
  const remedy = REMEDIES[code];
  return new JobError('ERR_JOB_SPAWN', remedy === undefined ? message : `${message}; ${remedy}`, {
    call: 'runJob',
    operands: { guard },
    cause: error,
    ...(errno === undefined ? {} : { errno }),
  });
}

/**
 * This host as the place where ranks run.
 *
 * ```ts
 * import { HostPlace, runJob } from 'viaduct/job';
 *
 * const place = new HostPlace({ network: true });
 * const args = ['-c', 'echo $VIADUCT_NETWORK_ADDRESSES'];
 * await runJob({ size: 1, command: 'sh', args, place });
 * // prints [0] 127.0.0.1
 * ```
 */
export class HostPlace implements Place {
  readonly #network: boolean;
  /** The guards of ranks that run; each forwards signals to its rank. */
  readonly #guards = new Set<number>();
  /** However this process exits, no rank outlives it; of SIGKILL the guards see to. */
  readonly #killAll = (): void => {
    for (const guard of this.#guards) process.kill(guard, KILL_TREE);
  };

  /** With `network`, ranks are told their addresses, which on this host are all the loopback's. */
  constructor(options: { readonly network?: boolean } = {}) {
    this.#network = options.network ?? false;
    process.on('exit', this.#killAll);
  }

  /**
   * Starts a rank as a process under a guard, which ends it and all that it started when this process is gone.
   *
   * @throws JobError `ERR_JOB_SPAWN` when the operating system refuses a process.
   */
  async start(start: RankStart): Promise<RankProcess> {
    const { command, args } = guarded(start, start.cpu);
    const child = spawn(command, args, {
      cwd: start.cwd,
      env: {
        ...start.env,
        [LAUNCHER_PID]: String(process.pid),
        [PMI_DESCRIPTOR]: String(PMI_FD),
        ...this.#addresses(start.size),
      },
      // A Ctrl-C must not reach ranks by the terminal as well as by the job.
      detached: true,
      stdio: [start.stdin, 'pipe', 'pipe', 'pipe'],
    });
    await once(child, 'spawn').catch((error: unknown) => {
      throw explain(error, command);
    });
    const guard = child.pid!;
    this.#guards.add(guard);
    const exited = new Promise<RankExit>((resolve) => {
      child.once('exit', (exitCode, signal) => {
        this.#guards.delete(guard);
        resolve({ exitCode, signal });
      });
    });
    return {
      stdout: child.stdout!,
      stderr: child.stderr!,
      pmi: child.stdio[PMI_FD] as Duplex,
      exited,
      kill: (signal) => {
        if (this.#guards.has(guard)) process.kill(guard, signal === 'SIGKILL' ? KILL_TREE : signal);
      },
    };
  }

  /** Kills the ranks that still run. */
  async close(): Promise<void> {
    this.#killAll();
    process.off('exit', this.#killAll);
  }

  #addresses(size: number): Record<string, string> {
    if (!this.#network) return {};
    return { [NETWORK_ADDRESSES]: Array<string>(size).fill('127.0.0.1').join(',') };
  }
}
