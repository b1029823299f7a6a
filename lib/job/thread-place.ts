/** Runs the ranks of a job as threads of one process of Node.js. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { basename, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { guarded, KILL_TREE } from './guard.js';
import { JobError } from './job-error.js';
import type { Place, RankExit, RankProcess, RankStart } from './place.js';
import { LAUNCHER_PID } from './rank-environment.js';
import { streamDescriptor, type FromHost, type ToHost } from './thread-messages.js';

const HOST_PROGRAM = fileURLToPath(new URL('thread-host.js', import.meta.url));

/** After it a thread that was to end takes its process along. */
const STUBBORN_MS = 1000;

/** A command line of node: its own options, the script, and that one's arguments. */
interface NodeCommand {
  readonly options: readonly string[];
  readonly script: string;
  readonly args: readonly string[];
}

/**
 * Splits the command line of a rank.
 *
 * @throws JobError `ERR_JOB_OPTION` when it is not `node [--OPTION[=VALUE]…] SCRIPT [ARGUMENT…]`
 */
export function parseNodeCommand(command: string, args: readonly string[]): NodeCommand {
  const at = args.findIndex((arg) => !arg.startsWith('-'));
  if (!/^node(js)?[\d.]*$/.test(basename(command)) || at < 0) {
    throw new JobError(
      'ERR_JOB_OPTION',
      'threads run scripts of Node.js: node [--OPTION[=VALUE]...] SCRIPT [ARGUMENT...], ' +
        `not ${[basename(command), ...args].join(' ')}`,
      { call: 'runJob', operands: { command, args } },
    );
  }
  return { options: args.slice(0, at), script: args[at], args: args.slice(at + 1) };
}

/** One rank's thread as this side knows it. */
class Thread {
  readonly exited: Promise<RankExit>;
  end!: (exit: RankExit) => void;
  /** The signal by which it was asked to end: threads get none, they are ended. */
  endedBy: NodeJS.Signals | undefined;

  constructor() {
    this.exited = new Promise((resolve) => (this.end = resolve));
  }
}

/**
 * One process whose threads (`node:worker_threads`) are the ranks: they start faster than processes and need less memory, but
 * share one fate when native code crashes, and can't be bound to processors. Any signal ends a thread.
 *
 * ```ts
 * import { runJob, ThreadPlace } from 'viaduct/job';
 *
 * const place = new ThreadPlace();
 * await runJob({ size: 2, command: 'node', args: ['app.js'], place });
 * // prints [1] Float64Array(4) [ 42, 42, 42, 42 ]
 * ```
 */
export class ThreadPlace implements Place {
  #process: Promise<ChildProcess> | undefined;
  #guard: number | undefined;
  readonly #threads = new Map<number, Thread>();
  readonly #killAll = (): void => {
    if (this.#guard !== undefined) process.kill(this.#guard, KILL_TREE);
  };

  constructor() {
    process.on('exit', this.#killAll);
  }

  /**
   * Starts a rank as a thread.
   *
   * @throws JobError `ERR_JOB_OPTION` when the program is no script of Node.js, `ERR_JOB_SPAWN`.
   */
  async start(start: RankStart): Promise<RankProcess> {
    const { rank, cwd } = start;
    const { options, script, args } = parseNodeCommand(start.command, start.args);
    const thread = new Thread();
    this.#threads.set(rank, thread);
    this.#process ??= this.#spawn(start, options);
    const host = await this.#process;
    const env = { ...start.env, [LAUNCHER_PID]: String(process.pid) };
    const path = resolve(cwd, script);
    const stdin = start.stdin === 'inherit';
    this.#send(host, { type: 'start', rank, script: path, args, env, stdin });
    return {
      stdout: host.stdio[streamDescriptor(rank, 'stdout')] as Readable,
      stderr: host.stdio[streamDescriptor(rank, 'stderr')] as Readable,
      exited: thread.exited,
      kill: (signal) => {
        if (!this.#threads.has(rank)) return;
        thread.endedBy ??= signal;
        this.#send(host, { type: 'end', rank });
        // A thread ends in JavaScript; one that never comes back from native code doesn't.
        if (signal === 'SIGKILL') setTimeout(this.#killAll, STUBBORN_MS).unref();
      },
    };
  }

  /** Ends the process, and with it the threads that still run. */
  async close(): Promise<void> {
    const host = await this.#process?.catch(() => undefined);
    if (host !== undefined && this.#guard !== undefined) {
      const gone = once(host, 'exit');
      this.#killAll();
      await gone;
    }
    process.off('exit', this.#killAll);
  }

  #send(host: ChildProcess, message: ToHost): void {
    // One that has ended can't be told, and its end is told by itself.
    if (host.connected) host.send(message, () => {});
  }

  async #spawn(start: RankStart, options: readonly string[]): Promise<ChildProcess> {
    const program = { command: start.command, args: [...options, HOST_PROGRAM] };
    const { command, args } = guarded(program, undefined);
    const streams = Array<'pipe'>(2 * start.size).fill('pipe');
    const host = spawn(command, args, {
      cwd: start.cwd,
      env: start.env,
      detached: true,
      stdio: ['inherit', 'ignore', 'inherit', 'ipc', ...streams],
    });
    await once(host, 'spawn').catch((cause: unknown) => {
      throw new JobError('ERR_JOB_SPAWN', (cause as Error).message, { call: 'runJob', cause });
    });
    this.#guard = host.pid;
    host.on('message', ({ rank, exitCode }: FromHost) => this.#ended(rank, exitCode));
    host.once('exit', (exitCode, signal) => {
      this.#guard = undefined;
      for (const thread of this.#threads.values()) thread.end({ exitCode, signal });
      this.#threads.clear();
    });
    return host;
  }

  #ended(rank: number, exitCode: number): void {
    const thread = this.#threads.get(rank);
    this.#threads.delete(rank);
    if (thread === undefined) return;
    const { endedBy } = thread;
    thread.end(
      endedBy === undefined ? { exitCode, signal: null } : { exitCode: null, signal: endedBy },
    );
  }
}
