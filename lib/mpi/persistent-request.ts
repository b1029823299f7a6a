/** Operations that are described once and started again and again (MPI 4.1, section 3.9). */
import { MpiError } from './errors.js';
import { Request, type RequestScope } from './request.js';

/**
 * Returned by `sendInit`, `recvInit` and their like. Each `start` begins the operation anew; between its end and the next
 * start the request is inactive, and to wait for it returns at once with an empty status.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const view = new Float64Array(1);
 * const step = world.rank === 0 ? world.sendInit(view, 1) : world.recvInit(view, 0);
 * for (let k = 1; k <= 3; k++) {
 *   if (world.rank === 0) view[0] = k * 1.5;
 *   step.start();
 *   await step;
 *   if (world.rank === 1) console.log(view[0]);
 * }
 * // prints [1] 1.5
 * // prints [1] 3
 * // prints [1] 4.5
 * ```
 */
export class PersistentRequest extends Request {
  readonly #begin: (request: PersistentRequest) => void;

  /** @internal @param begin carries one operation out; may throw for a buffer that is gone. */
  constructor(scope: RequestScope, begin: (request: PersistentRequest) => void) {
    super(scope);
    this.#begin = begin;
    this.#rest();
  }

  /**
   * Begins the operation (MPI_Start).
   *
   * @throws MpiError `ERR_MPI_REQUEST` while it is active; `ERR_MPI_BUFFER`, `ERR_MPI_COMM`.
   */
  start(): this {
    if (!this.done) {
      throw new MpiError(
        'ERR_MPI_REQUEST',
        `request.start: this ${this.describe()} is under way; wait until it is done, then start it again`,
        { call: 'request.start', operands: this.operands() },
      );
    }
    this.reuse();
    try {
      this.#begin(this);
    } catch (error) {
      this.#rest();
      this.scope.raise(error as Error);
    }
    return this;
  }

  /** Begins all of them in order (MPI_Startall). */
  static startAll(requests: readonly PersistentRequest[]): void {
    for (const request of requests) request.start();
  }

  /** Inactive: done, with the empty status, and passed over by waits for several. */
  #rest(): void {
    this.reuse();
    this.complete();
    this.isCollected = true;
  }
}
