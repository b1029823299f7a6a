/** What a job is asked for, and the check that it makes sense. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Writable } from 'node:stream';

import { JobError, type JobFailure } from './job-error.js';
import type { Place, RankExit } from './place.js';
import { resolveProgram } from './program.js';

/** Told as the job goes on. */
export type JobEvent =
  | {
      /** The rank's process runs. */
      readonly type: 'started';
      /** From 0 to the job's size - 1. */
      readonly rank: number;
    }
  | ({
      /** The rank's process has ended, in order or not. */
      readonly type: 'ended';
      /** From 0 to the job's size - 1. */
      readonly rank: number;
    } & RankExit)
  | {
      /** The job has failed, and ends; told once. With `keepGoing`, a rank has failed; told of each. */
      readonly type: 'failed';
      /** What the job's result will name. */
      readonly failure: JobFailure;
    };

/** What a job is asked for. */
export interface JobOptions {
  /** How many ranks. */
  readonly size: number;
  /** The program of each rank: a path if it has a slash, else a name that is looked up in PATH. */
  readonly command: string;
  /** The program's arguments; none by default. */
  readonly args?: readonly string[];
  /** The ranks' environment; by default this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The ranks' working directory; by default this process's. */
  readonly cwd?: string;
  /** `core` (the default) binds each rank to a processor of its own where there are enough. */
  readonly bind?: 'core' | 'none';
  /** Whether each line of output has `[rank] ` in front; by default it has. */
  readonly label?: boolean;
  /**
   * A folder that is made if need be; each rank's output then goes, without labels, to its files `rank-N.out` and `rank-N.err`
   * there, and not to `stdout` and `stderr`.
   */
  readonly outputDir?: string;
  /**
   * Writes the job's events to `stdout`, each a line of JSON: those of `onEvent`, then `{"type": "result", "exitCode", "failure"}`.
   * The ranks' output comes among them as `{"type": "output", "rank", "stream": "stdout" | "stderr", "text"}`, each a piece
   * of one or more whole lines. False by default.
   */
  readonly json?: boolean;
  /** Where ranks run; by default on this host. The job closes it at its end. */
  readonly place?: Place;
  /** Milliseconds after which the job is ended as failed (`ERR_JOB_TIMEOUT`), at most 2³¹ - 1; no limit by default. */
  readonly timeoutMs?: number;
  /**
   * Milliseconds after which a rank that has joined and can't run, since it was stopped or its virtual machine hangs, ends
   * the job as failed (`ERR_RANK_SILENT`); 30000 by default, at least 1000; `Infinity` waits for ever. A rank that is
   * busy, or waits, is not silent.
   */
  readonly heartbeatTimeoutMs?: number;
  /**
   * Lets the others go on when a rank has failed: they learn of it and may go on without, by `revoke`, `shrink` and `agree` of
   * their communicators. The job has done well if at least one of its ranks has. False by default: the first failure ends all.
   */
  readonly keepGoing?: boolean;
  /** `inherit` gives rank 0 this process's standard input; by default all ranks read an empty one. */
  readonly stdin?: 'inherit' | 'ignore';
  /** Where the ranks' standard output goes; by default to this process's. */
  readonly stdout?: Writable;
  /** Where the ranks' standard error goes; by default to this process's. */
  readonly stderr?: Writable;
  /** Called at each event. If it throws, the job is ended, and its result rejects with what was thrown. */
  readonly onEvent?: (event: JobEvent) => void;
  /** Ends the job; `runJob` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How a job ended. */
export interface JobResult {
  /**
   * 0 if all ranks did well; else the worst exit status of a rank, where a rank killed by signal n
   * counts 128 + n; 124 after a timeout; 128 + n if the job was interrupted by signal n. With `keepGoing` it is 0 if one rank
   * did well, unless the job as a whole failed.
   */
  readonly exitCode: number;
  /** The first failure; undefined if there was none. */
  readonly failure: JobFailure | undefined;
}

/** Options that were checked, with the program found. */
export interface CheckedOptions extends JobOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

function wrong(message: string, operands: Record<string, unknown>): JobError {
  return new JobError('ERR_JOB_OPTION', message, { call: 'runJob', operands });
}

/** Ranks beat four times in that time. */
const LEAST_HEARTBEAT_MS = 1000;

/** Timers count in 32 bits. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Checks what can be checked before anything is started.
 *
 * @throws JobError
 */
export function checkOptions(options: JobOptions): CheckedOptions {
  const { size, command, args = [], env = process.env, timeoutMs } = options;
  const bind: string = options.bind ?? 'core';
  if (!Number.isInteger(size) || size < 1) {
    throw wrong(`the number of ranks must be a whole number of at least 1, not ${size}`, { size });
  }
  if (typeof command !== 'string' || command === '') {
    throw wrong('name the program that the ranks run', { command });
  }
  if (bind !== 'core' && bind !== 'none') {
    throw wrong(`ranks are bound to 'core' or 'none', not to '${bind}'`, { bind });
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs <= LONGEST_TIMEOUT_MS)) {
    throw wrong(
      `the timeout must be above 0 and at most ${LONGEST_TIMEOUT_MS} ms, not ${timeoutMs}`,
      { timeoutMs },
    );
  }
  const { heartbeatTimeoutMs } = options;
  if (
    heartbeatTimeoutMs !== undefined &&
    heartbeatTimeoutMs !== Infinity &&
    !(heartbeatTimeoutMs >= LEAST_HEARTBEAT_MS && heartbeatTimeoutMs <= LONGEST_TIMEOUT_MS)
  ) {
    throw wrong(
      `the heartbeat's timeout must be from ${LEAST_HEARTBEAT_MS} to ${LONGEST_TIMEOUT_MS} ms, or Infinity, ` +
        `not ${heartbeatTimeoutMs}`,
      { heartbeatTimeoutMs },
    );
  }
  const cwd = resolve(options.cwd ?? '.');
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) {
    throw new JobError('ERR_JOB_CWD', `the working directory ${cwd} is not a directory`, {
      call: 'runJob',
      operands: { cwd },
    });
  }
  const program = resolveProgram(command, cwd, env['PATH'] ?? '/usr/bin:/bin');
  const outputDir =
    options.outputDir === undefined ? {} : { outputDir: resolve(options.outputDir) };
  return { ...options, command: program, args, env, cwd, ...outputDir };
}
