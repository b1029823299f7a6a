/** A job: ranks that run together, and that end together when one fails. */
import { once, setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import { createJobAperture } from '../mpi/job-aperture.js';
import { PmiServer } from '../pmi/index.js';
import { HeartbeatWatch } from './heartbeat-watch.js';
import { HostPlace } from './host-place.js';
import { JobFailure } from './job-error.js';
import {
  checkOptions,
  type CheckedOptions,
  type JobEvent,
  type JobOptions,
  type JobResult,
} from './job-options.js';
import type { LineRelay } from './line-relay.js';
import { JobOutput } from './output.js';
import type { Place, RankProcess } from './place.js';
import { usableProcessors } from './processors.js';
import { rankEnvironment } from './rank-environment.js';
import { exitStatusOf } from './signal-name.js';
import { Verdict, type RankEnd } from './verdict.js';

/** How long a rank that can't run is waited for, unless the job says otherwise. */
const HEARTBEAT_TIMEOUT_MS = 30_000;

/** How long ranks have between one step of ending them and the next, harsher one. */
const GRACE_MS = 1500;

/** How long ranks that know nothing of each other have to end by themselves after a failure. */
const STRANGERS_GRACE_MS = 250;

/** How long ranks may tidy up after a signal that the user sent to the job. */
const INTERRUPT_GRACE_MS = 5000;

/** How long a failed rank's last words may take before its peers learn of the failure. */
const LAST_WORDS_MS = 500;

/** The exit status of a job that took too long; that of timeout(1). */
const TIMEOUT_STATUS = 124;

/**
 * A job that runs. {@link runJob} suits most programs; this class is for those that pass signals on.
 *
 * ```ts
 * import { Job } from 'viaduct/job';
 *
 * const job = Job.start({ size: 2, command: 'node', args: ['app.js'] });
 * process.once('SIGINT', () => job.interrupt('SIGINT'));
 * process.exitCode = (await job.result).exitCode;
 * // prints [1] Float64Array(4) [ 42, 42, 42, 42 ]
 * ```
 */
export class Job {
  /** Resolves when every rank has ended, its output was handed on, and nothing of the job is left. */
  readonly result: Promise<JobResult>;
  readonly #options: CheckedOptions;
  readonly #place: Place;
  readonly #aperture: ReturnType<typeof createJobAperture>;
  readonly #output: JobOutput;
  readonly #pmi: PmiServer;
  readonly #verdict: Verdict;
  /** Ranks that have not ended, started or not. */
  readonly #unfinished: Set<number>;
  readonly #living = new Map<number, RankProcess>();
  /** Ranks that this launcher sent a signal to: how they end says nothing about them. */
  readonly #signalled = new Set<number>();
  /** Ranks that asked for the job's end, with the status that they asked for. */
  readonly #aborts = new Map<number, number>();
  /** Aborted when the job ends early, with what ranks that still start are sent. */
  readonly #ending = new AbortController();
  /** Aborted when output that nobody takes is not waited for any longer. */
  readonly #impatience = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #lastSignal: NodeJS.Signals | undefined;
  #interruptedBy: NodeJS.Signals | undefined;
  #brokenPipe = false;
  /** A failure ends the job: those that follow from it are not told. */
  #isEnding = false;

  /**
   * Starts the ranks.
   *
   * @throws JobError when the options are wrong; ApertureError when there is no memory for the job.
   */
  static start(options: JobOptions): Job {
    return new Job(options);
  }

  private constructor(options: JobOptions) {
    this.#options = checkOptions(options);
    this.#verdict = new Verdict(options.keepGoing);
    this.#unfinished = new Set(Array.from({ length: options.size }, (_, rank) => rank));
    this.#output = new JobOutput(this.#options, this.#outputBroke);
    try {
      this.#aperture = createJobAperture(options.size);
    } catch (error) {
      this.#output.close();
      throw error;
    }
    this.#place = options.place ?? new HostPlace();
    this.#pmi = new PmiServer({
      size: options.size,
      nodes: Array.from({ length: options.size }, (_, rank) => this.#place.nodeOf?.(rank) ?? 0),
      onAbort: (rank, exitCode) => this.#aborted(rank, exitCode),
    });
    // Each rank listens.
    setMaxListeners(0, this.#ending.signal, this.#impatience.signal);
    this.result = this.#run();
  }

  /**
   * Passes a signal to all ranks and ends the job; its exit status is then 128 + the signal's
   * number. A second call ends all ranks at once by SIGKILL.
   */
  interrupt(signal: NodeJS.Signals): void {
    if (this.#interruptedBy !== undefined) {
      this.#signalAll('SIGKILL');
      this.#impatience.abort();
      return;
    }
    this.#interruptedBy = signal;
    this.#end([
      [signal, 0],
      ['SIGKILL', INTERRUPT_GRACE_MS],
    ]);
    this.#after(INTERRUPT_GRACE_MS + GRACE_MS, () => this.#impatience.abort());
  }

  /** Passes a signal to all ranks and lets the job go on: such as SIGUSR1, or SIGCONT to ranks that were stopped. */
  signal(signal: NodeJS.Signals): void {
    for (const process of this.#living.values()) process.kill(signal);
  }

  async #run(): Promise<JobResult> {
    const { size, timeoutMs, heartbeatTimeoutMs = HEARTBEAT_TIMEOUT_MS } = this.#options;
    const processors = usableProcessors();
    const oversubscribed = size > processors.length;
    const bound = !oversubscribed && this.#options.bind !== 'none';
    if (timeoutMs !== undefined) {
      this.#after(timeoutMs, () => this.#timedOut(timeoutMs));
    }
    const heartbeats =
      heartbeatTimeoutMs === Infinity
        ? undefined
        : new HeartbeatWatch(this.#aperture.participants, {
            size,
            timeoutMs: heartbeatTimeoutMs,
            onSilent: (rank, reason) => this.#fellSilent(rank, reason),
          });
    try {
      const ends = await Promise.allSettled(
        Array.from({ length: size }, (_, rank) =>
          this.#runRank(rank, bound ? processors[rank] : undefined, oversubscribed),
        ),
      );
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
      this.#output.event({ type: 'result', ...this.#judge() });
      await this.#patiently(this.#output.flush());
    } finally {
      heartbeats?.close();
      for (const timer of this.#timers) clearTimeout(timer);
      this.#output.close();
      await this.#place.close();
      this.#aperture.close();
    }
    return this.#judge();
  }

  #judge(): JobResult {
    if (this.#interruptedBy !== undefined) {
      return { exitCode: exitStatusOf(this.#interruptedBy), failure: undefined };
    }
    if (this.#brokenPipe) return { exitCode: exitStatusOf('SIGPIPE'), failure: undefined };
    return { exitCode: this.#verdict.exitCode, failure: this.#verdict.failure };
  }

  async #runRank(rank: number, cpu: number | undefined, oversubscribed: boolean): Promise<void> {
    const { size, command, args, env, cwd, stdin = 'ignore' } = this.#options;
    const aperture = this.#aperture.path;
    let started: RankProcess;
    try {
      started = await this.#place.start({
        rank,
        size,
        command,
        args,
        env: rankEnvironment(env, { rank, size, aperture, oversubscribed }),
        cwd,
        aperture,
        cpu,
        stdin: rank === 0 ? stdin : 'ignore',
        signal: this.#ending.signal,
      });
    } catch (cause) {
      this.#unfinished.delete(rank);
      await this.#rankEnded(rank, { kind: 'not-started', cause }, []);
      return;
    }
    this.#living.set(rank, started);
    if (this.#lastSignal !== undefined) this.#signal(rank, started, this.#lastSignal);
    if (started.pmi !== undefined) this.#pmi.serve(rank, started.pmi);
    this.#tell({ type: 'started', rank });

    const relays = this.#output.relay(rank, started);
    const end = await started.exited.then(
      (exit): RankEnd => ({
        kind: 'exited',
        leftUnfinalized: this.#leftUnfinalized(rank),
        abortStatus: this.#aborts.get(rank),
        ...exit,
      }),
      (cause: unknown): RankEnd => ({ kind: 'lost', cause }),
    );
    this.#living.delete(rank);
    this.#unfinished.delete(rank);
    for (const relay of relays) relay.rankEnded();
    await this.#rankEnded(rank, end, relays);
    await this.#patiently(Promise.all(relays.map((relay) => relay.done)));
  }

  /** Whether a rank that has just exited belonged to the job and did not take its leave. */
  #leftUnfinalized(rank: number): boolean {
    const joined =
      this.#aperture.participants.state(rank) === 'attached' || this.#pmi.state(rank) === 'joined';
    return this.#unfinished.size > 1 && joined;
  }

  /** A rank has asked for the job's end: it will exit, and is made to if it doesn't. */
  #aborted(rank: number, status: number): void {
    this.#aborts.set(rank, status);
    this.#after(STRANGERS_GRACE_MS, () => this.#living.get(rank)?.kill('SIGKILL'));
  }

  /** Judges a rank's end and lets the other ranks know that it takes part no more. */
  async #rankEnded(rank: number, end: RankEnd, relays: readonly LineRelay[]): Promise<void> {
    if (end.kind === 'exited') {
      this.#tell({ type: 'ended', rank, exitCode: end.exitCode, signal: end.signal });
    }
    const endedByUs =
      end.kind === 'not-started' ? this.#ending.signal.aborted : this.#signalled.has(rank);
    const failure = this.#verdict.rankEnded(rank, end, endedByUs);
    const [isTold, endsAll] = failure === undefined ? [false, false] : this.#consider(failure);
    if (failure !== undefined) {
      // What the rank wrote last, such as its stack, comes before the word of its failure.
      const lastWords = new AbortController();
      await Promise.race([
        Promise.all(relays.map((relay) => relay.done)),
        sleep(LAST_WORDS_MS, undefined, { signal: lastWords.signal, ref: false }).catch(() => {}),
      ]);
      lastWords.abort();
      if (isTold) this.#tell({ type: 'failed', failure });
    }
    const { participants } = this.#aperture;
    if (this.#unfinished.size === 0) return;
    participants.fail(rank, failure?.reason ?? 'exited without joining the job');
    if (!endsAll) return;
    this.#ending.abort();
    // Only ranks that have joined learn of the failure and can report where they were.
    const joined = [...this.#living.keys()].some((peer) => participants.state(peer) === 'attached');
    const graceMs = joined ? GRACE_MS : STRANGERS_GRACE_MS;
    this.#end([
      ['SIGTERM', graceMs],
      ['SIGKILL', graceMs + GRACE_MS],
    ]);
  }

  /** Whether a failure is told, and whether it is what ends the job. */
  #consider(failure: JobFailure): [isTold: boolean, endsAll: boolean] {
    if (this.#isEnding) return [false, false];
    this.#isEnding = this.#verdict.endsAll(failure);
    return [true, this.#isEnding];
  }

  /** Others may wait for a rank that can't answer: they learn why, and the job ends. */
  #fellSilent(rank: number, reason: string): void {
    const silent = this.#living.get(rank);
    if (silent === undefined) return;
    const message = `rank ${rank} ${reason}`;
    const failure = new JobFailure('ERR_RANK_SILENT', message, { rank, reason, exitCode: 1 });
    const [isTold, endsAll] = this.#consider(failure);
    if (isTold) this.#tell({ type: 'failed', failure });
    this.#verdict.fail(failure);
    // What is stopped takes no other signal. It must be over when others are told that it is.
    this.#signal(rank, silent, 'SIGKILL');
    this.#aperture.participants.fail(rank, reason);
    if (!endsAll) return;
    this.#end([
      ['SIGTERM', GRACE_MS],
      ['SIGKILL', 2 * GRACE_MS],
    ]);
  }

  #timedOut(timeoutMs: number): void {
    const ranks = [...this.#unfinished].join(', ');
    const failure = new JobFailure(
      'ERR_JOB_TIMEOUT',
      `the job did not end within ${timeoutMs / 1000} s; still running: rank ${ranks}`,
      { reason: 'took too long', exitCode: TIMEOUT_STATUS, operands: { timeoutMs } },
    );
    this.#failJob(failure);
  }

  readonly #outputBroke = (error: Error): void => {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') {
      // The reader has seen enough, as in `viaduct run … | head -1`: nothing to complain about.
      this.#brokenPipe = true;
      this.#end([
        ['SIGTERM', 0],
        ['SIGKILL', GRACE_MS],
      ]);
      return;
    }
    this.#failJob(
      new JobFailure('ERR_JOB_OUTPUT', `the ranks' output could not be written: ${error.message}`, {
        reason: 'lost its output',
        exitCode: 1,
        cause: error,
      }),
    );
  };

  #failJob(failure: JobFailure): void {
    const [isTold] = this.#consider(failure);
    if (isTold) this.#tell({ type: 'failed', failure });
    this.#verdict.fail(failure);
    this.#end([
      ['SIGTERM', 0],
      ['SIGKILL', GRACE_MS],
    ]);
  }

  /** Ends the ranks step by step, each signal after its delay in ms. */
  #end(steps: readonly (readonly [NodeJS.Signals, number])[]): void {
    for (const [signal, delayMs] of steps) {
      if (delayMs === 0) this.#signalAll(signal);
      else this.#after(delayMs, () => this.#signalAll(signal));
    }
  }

  #signalAll(signal: NodeJS.Signals): void {
    this.#lastSignal = signal;
    this.#ending.abort();
    for (const [rank, process] of this.#living) this.#signal(rank, process, signal);
  }

  #signal(rank: number, process: RankProcess, signal: NodeJS.Signals): void {
    this.#signalled.add(rank);
    process.kill(signal);
  }

  /** Waits for output to be taken, but after an interrupt not for ever. */
  async #patiently(taken: Promise<unknown>): Promise<void> {
    const { signal } = this.#impatience;
    if (signal.aborted) return;
    const over = new AbortController();
    await Promise.race([
      taken,
      once(signal, 'abort', { signal: over.signal }).catch(() => undefined),
    ]);
    over.abort();
  }

  #after(delayMs: number, action: () => void): void {
    this.#timers.push(setTimeout(action, delayMs));
  }

  #tell(event: JobEvent): void {
    this.#output.event(event);
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      // A callback that throws ends the job, and `result` rejects with what it threw.
      this.#signalAll('SIGKILL');
      throw error;
    }
  }
}

/**
 * Runs a program as the ranks of a job and resolves when all of them have ended. That a rank fails
 * is a result, not an exception.
 *
 * ```ts
 * import { runJob } from 'viaduct/job';
 *
 * const { exitCode, failure } = await runJob({ size: 2, command: 'sh', args: ['-c', 'exit 3'] });
 * console.log(exitCode, failure?.code); // prints 3 ERR_RANK_EXIT
 * ```
 *
 * @throws JobError when the options are wrong; ApertureError when there is no memory for the job;
 *   the reason of `signal` when that ended the job.
 */
export async function runJob(options: JobOptions): Promise<JobResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  const job = Job.start(options);
  const abort = (): void => job.interrupt('SIGTERM');
  signal?.addEventListener('abort', abort, { once: true });
  const result = await job.result.finally(() => signal?.removeEventListener('abort', abort));
  signal?.throwIfAborted();
  return result;
}
