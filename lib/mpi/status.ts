/** What a completed receive tells of its message. */
import { ANY_SOURCE, ANY_TAG } from './constants.js';
import { type Datatype, datatypeOf, type ElementType } from './datatype/datatype.js';

/**
 * Envelope and size of a received message (MPI 4.1, section 3.2.5). A receive can fill one that the caller
 * keeps: `world.recvSync(view, ANY_SOURCE, ANY_TAG, status)`.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { ANY_SOURCE, ANY_TAG, init, Status } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * if (world.rank === 1) {
 *   for (let tag = 0; tag < 3; tag++) world.sendSync(new Uint8Array(tag), 0, tag);
 * } else {
 *   const status = new Status(); // filled again and again
 *   const view = new Uint8Array(16);
 *   for (let i = 0; i < 3; i++) {
 *     world.recvSync(view, ANY_SOURCE, ANY_TAG, status);
 *     console.log(status.source, status.tag, status.byteLength);
 *     // prints [0] 1 0 0
 *     // prints [0] 1 1 1
 *     // prints [0] 1 2 2
 *   }
 * }
 * ```
 */
export class Status {
  /** Rank of the sender in the communicator; `ANY_SOURCE` in the empty status, `PROC_NULL` of no process. */
  source = ANY_SOURCE;
  /** Tag of the message, from 0 to 2³¹ - 1; `ANY_TAG` in the empty status. */
  tag = ANY_TAG;
  /** Size of the message. */
  byteLength = 0;
  /** Why the operation failed, where the communicator's error handler does not throw. */
  error: Error | undefined = undefined;

  /**
   * How many whole items of a type the message holds (MPI_Get_count); undefined when it is no whole number of them.
   *
   * @throws MpiError `ERR_MPI_TYPE`.
   */
  getCount(type: Datatype | ElementType): number | undefined {
    const { sizeBytes } = datatypeOf(type, 'status.getCount');
    if (sizeBytes === 0) return this.byteLength === 0 ? 0 : undefined;
    return this.byteLength % sizeBytes === 0 ? this.byteLength / sizeBytes : undefined;
  }

  /**
   * How many elements of which a type is made the message holds (MPI_Get_elements); undefined when it ends within one.
   *
   * @throws MpiError `ERR_MPI_TYPE`.
   */
  getElements(type: Datatype | ElementType): number | undefined {
    return datatypeOf(type, 'status.getElements').elementsIn(this.byteLength);
  }
}
