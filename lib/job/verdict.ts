/** Judges how ranks ended: which failure was the first, and what the job's exit status is. */
import { JobFailure } from './job-error.js';
import type { RankExit } from './place.js';
import { exitStatusOf, likelyCause } from './signal-name.js';

/** How one rank's part in the job ended. */
export type RankEnd =
  | ({
      readonly kind: 'exited';
      readonly leftUnfinalized: boolean;
      /** The status with which the rank asked for the end of the whole job. */
      readonly abortStatus?: number | undefined;
    } & RankExit)
  | { readonly kind: 'not-started' | 'lost'; readonly cause: unknown };

function failureOf(rank: number, end: RankEnd): JobFailure | undefined {
  const failure = (
    code: string,
    reason: string,
    more: string,
    exitCode: number,
    cause?: unknown,
  ): JobFailure =>
    new JobFailure(code, `rank ${rank} ${reason}${more}`, { rank, reason, exitCode, cause });

  if (end.kind !== 'exited') {
    const [code, reason] =
      end.kind === 'lost'
        ? ['ERR_RANK_LOST', 'was lost']
        : ['ERR_RANK_START', 'could not be started'];
    const why = end.cause instanceof Error ? end.cause.message : String(end.cause);
    return failure(code, reason, `: ${why}`, 1, end.cause);
  }
  const { exitCode, signal, abortStatus } = end;
  if (abortStatus !== undefined) {
    return failure('ERR_RANK_ABORT', `aborted the job with status ${abortStatus}`, '', abortStatus);
  }
  if (signal !== null) {
    const status = exitStatusOf(signal);
    return failure('ERR_RANK_SIGNAL', `was killed by ${signal}`, likelyCause(signal), status);
  }
  if (exitCode !== 0) {
    return failure('ERR_RANK_EXIT', `exited with status ${exitCode}`, '', exitCode ?? 1);
  }
  if (!end.leftUnfinalized) return undefined;
  return failure(
    'ERR_RANK_NOT_FINALIZED',
    'exited without finalizing',
    ' while other ranks still ran; await job.finalize() at its end',
    1,
  );
}

/** The job's result as it forms, rank by rank. */
export class Verdict {
  /** The first failure; those that follow from it are not reported. */
  failure: JobFailure | undefined;
  readonly #keepGoing: boolean;
  #exitCode = 0;
  #anyDidWell = false;
  #endsAll = false;

  /** With `keepGoing`, one rank that does well is enough. */
  constructor(keepGoing = false) {
    this.#keepGoing = keepGoing;
  }

  /** The worst status so far. */
  get exitCode(): number {
    return this.#keepGoing && this.#anyDidWell && !this.#endsAll ? 0 : this.#exitCode;
  }

  /** Whether a failure is to end all ranks: with `keepGoing`, what concerns one rank is left to the others. */
  endsAll({ rank, code }: JobFailure): boolean {
    const isOneRanks = rank !== undefined && code !== 'ERR_RANK_ABORT' && code !== 'ERR_RANK_START';
    return !(this.#keepGoing && isOneRanks);
  }

  /** Records a failure that is no single rank's, such as a timeout. */
  fail(failure: JobFailure): void {
    this.failure ??= failure;
    this.#endsAll ||= this.endsAll(failure);
    this.#exitCode = Math.max(this.#exitCode, failure.exitCode);
  }

  /**
   * Records a rank's end. `ended` says that the launcher itself ended the rank, which is then no
   * failure. Returns this rank's failure, whether the first or not.
   */
  rankEnded(rank: number, end: RankEnd, ended: boolean): JobFailure | undefined {
    if (ended) return undefined;
    const failure = failureOf(rank, end);
    if (failure === undefined) {
      this.#anyDidWell = true;
      return undefined;
    }
    // After the first failure, only a status that a rank chose itself can be worse.
    if (
      this.failure === undefined ||
      failure.code === 'ERR_RANK_EXIT' ||
      (this.#keepGoing && this.endsAll(failure))
    ) {
      this.fail(failure);
    }
    return failure;
  }
}
