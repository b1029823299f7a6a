/** What a completed receive tells of its message. */

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
  /** Rank of the sender. */
  source = -1;
  /** Tag of the message, from 0 to 2³¹ - 1. */
  tag = -1;
  /** Size of the message; at most the size of the receive buffer. */
  byteLength = 0;
}
