/**
 * Message passing among the ranks of a job, with the semantics of MPI 4.1.
 *
 * A name that ends in `Sync` blocks the thread; `isend` and `irecv` return requests, the others promises. What goes wrong
 * is an `MpiError`, whose code says what.
 *
 * @module viaduct/mpi
 */
export { apertureSizeBytes, formatAperture } from './channels/aperture/layout.js';
export { Communicator, type WaitOptions } from './communicator.js';
export { ANY_SOURCE, ANY_TAG, TAG_UPPER_BOUND } from './constants.js';
export { MpiError } from './errors.js';
export { init, type Job } from './init.js';
export type { MessageBuffer } from './memory.js';
export { Request } from './request.js';
export { Status } from './status.js';
