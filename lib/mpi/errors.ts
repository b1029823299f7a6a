/** What can go wrong in message passing. */
import { ViaductError } from '../errors.js';
import { ANY_TAG, TAG_UPPER_BOUND } from './constants.js';

/**
 * Codes, with the error class of MPI 4.1, section 9.4, where there is one:
 *
 * | code | |
 * | --- | --- |
 * | `ERR_MPI_RANK` | MPI_ERR_RANK: no such rank in the communicator |
 * | `ERR_MPI_TAG` | MPI_ERR_TAG |
 * | `ERR_MPI_BUFFER` | MPI_ERR_BUFFER: no memory, detached memory, or no room in the attached buffer |
 * | `ERR_MPI_TYPE` | MPI_ERR_TYPE: no datatype, one that does not fit the buffer, or a message that is no object |
 * | `ERR_MPI_COUNT` | MPI_ERR_COUNT |
 * | `ERR_MPI_COMM` | MPI_ERR_COMM: a communicator that was freed, or is of another kind |
 * | `ERR_MPI_GROUP` | MPI_ERR_GROUP |
 * | `ERR_MPI_DIMS` | MPI_ERR_DIMS and MPI_ERR_TOPOLOGY |
 * | `ERR_MPI_REQUEST` | MPI_ERR_REQUEST: started while active, or waited for as a message that was received already |
 * | `ERR_MPI_TRUNCATE` | MPI_ERR_TRUNCATE |
 * | `ERR_MPI_NO_MEM` | MPI_ERR_NO_MEM |
 * | `ERR_MPI_ARG` | MPI_ERR_ARG |
 * | `ERR_MPI_RANK_FAILED` | a rank that this call needs is gone (MPI_ERR_PROC_FAILED of ULFM) |
 * | `ERR_MPI_RANK_FAILED_PENDING` | a rank that a receive from any rank may need is gone, and `ackFailed` has not said to go on without it; the receive is withdrawn and has taken no message, so that it can be begun again (MPI_ERR_PROC_FAILED_PENDING, which leaves it under way) |
 * | `ERR_MPI_REVOKED` | one of the ranks has revoked the communicator (MPI_ERR_REVOKED) |
 * | `ERR_MPI_DEADLOCK` | the call could never return |
 * | `ERR_MPI_ABORTED` | an AbortSignal withdrew the operation |
 * | `ERR_MPI_TIMEOUT` | its time was over, and it was withdrawn |
 * | `ERR_MPI_CANCELLED` | it was cancelled |
 * | `ERR_MPI_THREAD` | the rank belongs to another thread of this process |
 * | `ERR_MPI_ENVIRONMENT` | the variables that the launcher sets are wrong |
 * | `ERR_MPI_DEVICE` | the device of verbs that messages are to go by can't be used |
 * | `ERR_MPI_LAUNCHER` | the launcher can't be joined, or the ranks that it started can't meet |
 * | `ERR_MPI_STATE` | initialized twice, or used after the job was left |
 * | `ERR_MPI_LAYOUT` | the aperture was made for another job or version |
 */
export class MpiError extends ViaductError {}

/**
 * What becomes of an error of a communicator's calls (MPI 4.1, section 9.3): `throw`, the default, throws it, or rejects;
 * `return` lets the call return, with the error in its status and in `lastError`; `abort` ends the job; a function is
 * told, and may throw.
 */
export type ErrorHandler = 'throw' | 'return' | 'abort' | ((error: MpiError) => void);

export function noSuchRank(rank: number, size: number, call: string): MpiError {
  return new MpiError(
    'ERR_MPI_RANK',
    `${call}: there is no rank ${String(rank)} in this communicator; its ranks are 0 to ${size - 1}`,
    { call, operands: { rank, size } },
  );
}

/** @throws MpiError `ERR_MPI_TAG` */
export function checkTag(tag: number, call: string): void {
  if (tag < 0 || (tag | 0) !== tag) throw noTag(tag, call);
}

function noTag(tag: number, call: string): MpiError {
  return new MpiError(
    'ERR_MPI_TAG',
    `${call}: a tag is a whole number from 0 to ${TAG_UPPER_BOUND}, not ${String(tag)}` +
      (tag === ANY_TAG ? '; ANY_TAG is for receives only' : ''),
    { call, operands: { tag } },
  );
}

export function noArgument(code: string, call: string, what: string, given: unknown): MpiError {
  return new MpiError(code, `${call}: ${what}, not ${String(given)}`, {
    call,
    operands: { given },
  });
}

export function revoked(what: string, communicator: string): MpiError {
  return new MpiError(
    'ERR_MPI_REVOKED',
    `${what}: communicator ${communicator} was revoked by one of its ranks; go on in one of its survivors, by shrink`,
    { operands: { communicator } },
  );
}
