/** What a completed receive tells of its message. */

/**
 * Envelope and size of a received message (MPI 4.1, section 3.2.5). A receive can fill one that the caller
 * keeps: `world.recvSync(view, ANY_SOURCE, ANY_TAG, status)`.
 */
export class Status {
  /** Rank of the sender. */
  source = -1;
  /** Tag of the message, from 0 to 2³¹ - 1. */
  tag = -1;
  /** Size of the message; at most the size of the receive buffer. */
  byteLength = 0;
}
