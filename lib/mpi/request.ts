/** A send or receive under way. */
import { ANY_SOURCE, ANY_TAG } from './constants.js';
import { MpiError } from './errors.js';
import { type Memory, NO_MEMORY } from './memory.js';
import { Status } from './status.js';

/** What a request asks of the engine that carries it out. */
export interface RequestOwner {
  /** Makes what progress can be made without waiting. */
  poll(): boolean;
  /** Blocks until the request is done; throws the failure of a rank that it needs. */
  wait(request: Request): void;
  /** Somebody awaits a request: sees to it that the event loop drives it on. */
  drive(): void;
  /** A request that somebody awaits is done. */
  settled(): void;
  /** Takes a request back that has not begun; false when it has. */
  withdraw(request: Request): boolean;
}

export const SEND = 0;
export const RECEIVE = 1;

/**
 * Returned by `isend` and `irecv`; await it for its status, or use `waitSync` and `test`.
 *
 * The buffer belongs to the request until it is done: do not write to it while it is being sent, do not touch it
 * while it is being received into.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init, Request } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const peer = 1 - world.rank;
 * const theirs = new Int32Array(1);
 * const receive = world.irecv(theirs, peer);
 * const send = world.isend(Int32Array.of(world.rank), peer);
 * // … while both are under way …
 * Request.waitAllSync([receive, send]); // or: await receive; await send;
 * console.log(`rank ${theirs[0]}`, receive.status.byteLength);
 * // prints [0] rank 1 4
 * // prints [1] rank 0 4
 * ```
 */
export class Request implements PromiseLike<Status> {
  // Fields of the engine, in one class for sends and receives alike so that its hot paths see one shape.
  /** @internal */ kind = SEND;
  /** @internal */ context = 0;
  /** @internal rank to send to or receive from */ peer = 0;
  /** @internal */ tag = 0;
  /** @internal */ memory: Memory = NO_MEMORY;
  /** @internal */ source = -1;
  /** @internal */ matchedTag = -1;
  /** @internal size of the message, while it is under way and after */ byteLength = 0;
  /** @internal bytes copied of a message that comes in fragments */ progressed = 0;
  /** @internal name under which the peer speaks of it; 0 for none */ id = 0;
  /** @internal position in time among posted receives */ order = 0;
  /** @internal */ next: Request | undefined = undefined;
  /** @internal */ previous: Request | undefined = undefined;

  #done = false;
  #error: Error | undefined = undefined;
  #promise: Promise<Status> | undefined = undefined;
  #resolve: ((status: Status) => void) | undefined = undefined;
  #reject: ((error: Error) => void) | undefined = undefined;
  readonly #owner: RequestOwner;

  /** @internal */
  constructor(owner: RequestOwner) {
    this.#owner = owner;
  }

  /** True once the operation has ended, in success or failure. Makes no progress by itself: see `test`. */
  get done(): boolean {
    return this.#done;
  }

  /** The status of a request that is done. */
  get status(): Status {
    return this.fillStatus(new Status());
  }

  /** Makes progress and says whether the operation is done; throws its error if it failed. */
  test(): boolean {
    if (!this.#done) this.#owner.poll();
    if (this.#error !== undefined) throw this.#error;
    return this.#done;
  }

  /** Blocks until the operation is done; throws its error if it failed. */
  waitSync(status: Status = new Status()): Status {
    if (!this.#done) this.#owner.wait(this);
    if (this.#error !== undefined) throw this.#error;
    return this.fillStatus(status);
  }

  /**
   * Withdraws an operation that no message has met yet; it then fails with `ERR_MPI_CANCELLED`.
   *
   * @returns false when it is too late, and the operation goes on (MPI 4.1, section 3.8.4).
   */
  cancel(): boolean {
    return this.withdraw(
      new MpiError(
        'ERR_MPI_CANCELLED',
        `${this.describe()} was cancelled before any message met it`,
        { operands: this.operands() },
      ),
    );
  }

  /** What `await` calls. Rejects with the operation's error. */
  then<A = Status, B = never>(
    onFulfilled?: ((status: Status) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.promise().then(onFulfilled, onRejected);
  }

  /** The request as a promise, for `Promise.race` and the like. */
  promise(): Promise<Status> {
    if (this.#promise !== undefined) return this.#promise;
    this.#promise = new Promise((resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error);
      else if (this.#done) resolve(this.status);
      else {
        this.#resolve = resolve;
        this.#reject = reject;
        this.#owner.drive();
      }
    });
    return this.#promise;
  }

  /** Blocks until all are done. Throws the error of the first in the list that failed, after all have ended. */
  static waitAllSync(requests: readonly Request[]): void {
    let failure: Error | undefined;
    for (const request of requests) {
      if (!request.#done) request.#owner.wait(request);
      failure ??= request.#error;
    }
    if (failure !== undefined) throw failure;
  }

  /** @internal */
  withdraw(reason: Error): boolean {
    if (this.#done || !this.#owner.withdraw(this)) return false;
    this.fail(reason);
    return true;
  }

  /** @internal */
  complete(): void {
    this.#done = true;
    if (this.#resolve === undefined) return;
    this.#owner.settled();
    this.#resolve(this.status);
  }

  /** @internal */
  fail(error: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#error = error;
    if (this.#reject === undefined) return;
    this.#owner.settled();
    this.#reject(error);
  }

  /** @internal The error, for the blocking calls, which throw it. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** @internal Makes a request that a blocking call keeps ready for the next one. */
  reuse(): void {
    this.#done = false;
    this.#error = undefined;
    this.progressed = 0;
    this.id = 0;
  }

  /** @internal */
  fillStatus(status: Status): Status {
    status.source = this.source;
    status.tag = this.matchedTag;
    status.byteLength = this.byteLength;
    return status;
  }

  /** @internal For messages: `receive from any rank, tag 7`. */
  describe(): string {
    const tag = this.tag === ANY_TAG ? 'any tag' : `tag ${this.tag}`;
    if (this.kind === SEND) return `send to rank ${this.peer}, ${tag}`;
    return `receive from ${this.peer === ANY_SOURCE ? 'any rank' : `rank ${this.peer}`}, ${tag}`;
  }

  /** @internal */
  operands(): Record<string, unknown> {
    return { peer: this.peer, tag: this.tag, byteLength: this.memory.byteLength };
  }
}
