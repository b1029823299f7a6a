/** Wildcards and bounds of MPI 4.1, chapter 3. */

/** Receive from any rank of the communicator (MPI 4.1, section 3.2.4). */
export const ANY_SOURCE = -1;

/** Receive a message of any tag (MPI 4.1, section 3.2.4). */
export const ANY_TAG = -1;

/** No process: to send to it does nothing, to receive from it gives an empty message at once (MPI 4.1, section 3.10). */
export const PROC_NULL = -2;

/** The largest tag (MPI_TAG_UB; MPI 4.1, section 9.1.2). The smallest is 0. */
export const TAG_UPPER_BOUND = 0x7fffffff;

/** Context of what ranks tell each other about failures; above those of all communicators. */
export const NOTICES = 2 ** 31 - 1;
