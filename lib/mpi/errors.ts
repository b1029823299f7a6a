/** What can go wrong in message passing. */
import { ViaductError } from '../errors.js';

/**
 * Codes, with the error class of MPI 4.1, section 9.4, where there is one:
 * `ERR_MPI_RANK` (MPI_ERR_RANK), `ERR_MPI_TAG` (MPI_ERR_TAG), `ERR_MPI_BUFFER` (MPI_ERR_BUFFER),
 * `ERR_MPI_TRUNCATE` (MPI_ERR_TRUNCATE), `ERR_MPI_RANK_FAILED` (a rank that this call needs is gone),
 * `ERR_MPI_DEADLOCK` (the call could never return), `ERR_MPI_ABORTED` (an AbortSignal), `ERR_MPI_TIMEOUT`,
 * `ERR_MPI_CANCELLED`, `ERR_MPI_ENVIRONMENT` (the variables that the launcher sets are wrong),
 * `ERR_MPI_LAUNCHER` (the launcher can't be joined, or the ranks that it started can't meet),
 * `ERR_MPI_STATE` (initialized twice), `ERR_MPI_LAYOUT` (the aperture was made for another job).
 */
export class MpiError extends ViaductError {}
