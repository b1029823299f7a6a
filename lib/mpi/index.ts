/**
 * Message passing among the ranks of a job, with the semantics of MPI 4.1.
 *
 * A name that ends in `Sync` blocks the thread; one that begins with `i` returns a request, the others promises. What
 * goes wrong is an `MpiError`, whose code says what.
 *
 * @module viaduct/mpi
 */
export { BSEND_OVERHEAD } from './attached-buffer.js';
export {
  cartCreate,
  cartCreateSync,
  CartesianCommunicator,
  type CartOptions,
  dimsCreate,
  type Shift,
} from './cartesian.js';
export { apertureSizeBytes, formatAperture } from './channels/aperture/layout.js';
export type { Explanation } from './channels/channel.js';
export {
  type Agreed,
  Communicator,
  type IntercommOptions,
  type SplitOptions,
} from './communicator.js';
export { ANY_SOURCE, ANY_TAG, PROC_NULL, TAG_UPPER_BOUND } from './constants.js';
export { contiguous, indexed, resized, struct, subarray, vector } from './datatype/constructors.js';
export {
  Datatype,
  type DatatypeView,
  type ElementType,
  type SelectableBuffer,
} from './datatype/datatype.js';
export { type ErrorHandler, MpiError } from './errors.js';
export { type Comparison, Group } from './group.js';
export { init, type Job } from './init.js';
export { intercommCreate, intercommCreateSync, Intercommunicator } from './intercommunicator.js';
export type { MessageBuffer, Selection } from './memory.js';
export { Message } from './message.js';
export { PersistentRequest } from './persistent-request.js';
export type { PointToPoint } from './point-to-point.js';
export type { Messaging, Received, ReceivedObject } from './probing.js';
export { type Completion, Request, type RequestList } from './request.js';
export { Status } from './status.js';
export type { MessageProtocol, Traffic, TrafficCounters } from './traffic.js';
export { type PendingOperation, type RankWait, WaitReport, type WaitState } from './waits.js';
export type { WaitOptions } from './withdrawal.js';
