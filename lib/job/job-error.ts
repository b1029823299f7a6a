/** What can be wrong with a job: how it was asked for, and how it ended. */
import { ViaductError, type ErrorDetails } from '../errors.js';

/**
 * The job could not be started as it was asked for. Codes: `ERR_JOB_OPTION`, `ERR_JOB_CWD`,
 * `ERR_JOB_OUTPUT_DIR`, `ERR_JOB_PROGRAM` (there is no such program), `ERR_JOB_NOT_EXECUTABLE`, `ERR_JOB_SPAWN` (the
 * operating system refused a process).
 */
export class JobError extends ViaductError {}

/**
 * Why a job that was started did not end well. Codes:
 *
 * - `ERR_RANK_START`: the rank's process or virtual machine could not be started (see `cause`);
 * - `ERR_RANK_EXIT`: the rank ended with an exit status other than 0;
 * - `ERR_RANK_SIGNAL`: a signal killed the rank;
 * - `ERR_RANK_ABORT`: the rank asked for the job's end, as MPI_Abort does;
 * - `ERR_RANK_NOT_FINALIZED`: the rank left the job without finalizing while others still ran;
 * - `ERR_RANK_SILENT`: the rank is there but can't run: it was stopped, or its virtual machine hangs;
 * - `ERR_RANK_LOST`: the place where the rank ran, such as its virtual machine, ended under it;
 * - `ERR_JOB_TIMEOUT`: the job ran longer than it was allowed to;
 * - `ERR_JOB_OUTPUT`: what the ranks wrote could not be passed on.
 */
export class JobFailure extends ViaductError {
  /** The rank at fault; undefined where the fault is the whole job's. */
  readonly rank: number | undefined;
  /** What the rank did, in a few words that make a sentence after `rank N`. */
  readonly reason: string;
  /** The exit status that this failure alone gives the job. */
  readonly exitCode: number;

  constructor(
    code: string,
    message: string,
    details: ErrorDetails & { rank?: number; reason: string; exitCode: number },
  ) {
    super(code, message, details);
    this.rank = details.rank;
    this.reason = details.reason;
    this.exitCode = details.exitCode;
  }
}
