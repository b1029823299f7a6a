/** A send, a receive or a probe under way. */
import { ANY_SOURCE, ANY_TAG, PROC_NULL } from './constants.js';
import { MpiError } from './errors.js';
import type { UnexpectedMessage } from './matching.js';
import { type Memory, NO_MEMORY } from './memory.js';
import type { Queue } from './queue-table.js';
import * as sets from './request-sets.js';
import { Status } from './status.js';

/** What a request asks of the engine that carries it out. */
export interface RequestOwner {
  /** Makes what progress can be made without waiting. */
  poll(): boolean;
  /** Blocks until the request is done; throws the failure of a rank that it needs. */
  wait(request: Request): void;
  /** Blocks until `isDone`, to which these requests lead. */
  waitUntil(isDone: () => boolean, requests: readonly Request[]): void;
  /** Somebody awaits a request: sees to it that the event loop drives it on. */
  drive(): void;
  /** A request that somebody awaits is done. */
  settled(): void;
  /**
   * Takes a request back that has not begun; false when it has, undefined when the peer was asked whether it has and
   * will have the request failed with its `withdrawal` if not.
   */
  withdraw(request: Request): boolean | undefined;
}

/** What a request asks of the communicator that it belongs to. */
export interface RequestScope {
  readonly owner: RequestOwner;
  readonly name: string;
  /** The rank here of a rank of the world, -1 for one that is not here. */
  rankOf(worldRank: number): number;
  /** Whether a rank of the world has failed and receives from any rank are to go on without it. */
  isAcknowledged(worldRank: number): boolean;
  /** Handles an error as the communicator's error handler says: throws it, or returns. */
  raise(error: Error): void;
}

export const SEND = 0;
export const RECEIVE = 1;
export const PROBE = 2;
export const MATCHED_PROBE = 3;

/** How a send ends (MPI 4.1, section 3.4): a ready or buffered one is like a standard one to the channels. */
export const STANDARD = 0;
export const SYNCHRONOUS = 1;

const NAMES = ['send', 'receive', 'probe', 'matched probe'];

/** A request in a list; empty places, and requests that are not active, are passed over (MPI 4.1, section 3.7.3). */
export type RequestList = readonly (Request | null | undefined)[];

/**
 * Returned by `isend`, `irecv` and their like; await it for its status, or use `waitSync` and `test`.
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
 * Request.waitAllSync([receive, send]); // or: await Request.waitAll([receive, send]);
 * console.log(`rank ${theirs[0]}`, receive.status.byteLength);
 * // prints [0] rank 1 4
 * // prints [1] rank 0 4
 * ```
 */
export class Request implements PromiseLike<Status> {
  // Fields of the engine, in one class for sends and receives alike so that its hot paths see one shape.
  /** @internal */ kind = SEND;
  /** @internal */ mode = STANDARD;
  /** @internal */ context = 0;
  /** @internal rank of the world to send to or receive from */ peer = 0;
  /** @internal */ tag = 0;
  /** @internal */ memory: Memory = NO_MEMORY;
  /** @internal rank of the world that the message came from */ source = -1;
  /** @internal */ matchedTag = -1;
  /** @internal size of the message, while it is under way and after */ byteLength = 0;
  /** @internal bytes copied of a message that comes in fragments */ progressed = 0;
  /** @internal name under which the peer speaks of it; 0 for none */ id = 0;
  /** @internal position in time among posted receives */ order = 0;
  /** @internal */ next: Request | undefined = undefined;
  /** @internal */ previous: Request | undefined = undefined;
  /** @internal */ queue: Queue<Request> | undefined = undefined;
  /** @internal */ scope: RequestScope;
  /** @internal a receive whose memory is made when the message is there */ isOfAnySize = false;
  /** @internal what a matched probe has taken */ message: UnexpectedMessage | undefined =
    undefined;
  /** @internal the error to end with if the peer agrees */ withdrawal: Error | undefined =
    undefined;
  /** @internal told by a wait or test of several: no longer active for those */ isCollected = false;

  #done = false;
  /** Something is to be done when the request is: to distribute what came, to tell those who await it. */
  #isAttended = false;
  #error: Error | undefined = undefined;
  #promise: Promise<Status> | undefined = undefined;
  #listeners: (() => void)[] = [];
  #observer: (() => void) | undefined = undefined;

  /** @internal */
  constructor(scope: RequestScope) {
    this.scope = scope;
  }

  /** True once the operation has ended, in success or failure. Makes no progress by itself: see `test`. */
  get done(): boolean {
    return this.#done;
  }

  /** Why the operation failed; undefined as long as it has not. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** The status of a request that is done. */
  get status(): Status {
    return this.fillStatus(new Status());
  }

  /** Makes progress and says whether the operation is done (MPI_Test); throws its error if it failed. */
  test(): boolean {
    if (!this.#done) this.scope.owner.poll();
    if (!this.#done) return false;
    this.isCollected = true;
    if (this.#error !== undefined) this.scope.raise(this.#error);
    return true;
  }

  /** Blocks until the operation is done (MPI_Wait); throws its error if it failed. */
  waitSync(status: Status = new Status()): Status {
    if (!this.#done) this.scope.owner.wait(this);
    this.isCollected = true;
    if (this.#error !== undefined) this.scope.raise(this.#error);
    return this.fillStatus(status);
  }

  /**
   * Withdraws an operation that no message, or no receive, has met yet; it then fails with `ERR_MPI_CANCELLED`
   * (MPI_Cancel; MPI 4.1, section 3.8.4). A send whose envelope is at its receiver is withdrawn if the receiver, which is
   * asked, has not met it.
   *
   * @returns false when it is too late, and the operation goes on.
   */
  cancel(): boolean {
    return this.withdraw(
      new MpiError('ERR_MPI_CANCELLED', `${this.describe()} was cancelled before anything met it`, {
        operands: this.operands(),
      }),
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
    this.#promise ??= new Promise((resolve, reject) => {
      const settle = (): void => {
        this.isCollected = true;
        try {
          if (this.#error !== undefined) this.scope.raise(this.#error);
          resolve(this.status);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.#done) settle();
      else this.listen(settle);
    });
    return this.#promise;
  }

  /**
   * Blocks until all are done (MPI_Waitall); each request has its `status`. If some fail, it throws the error of the first
   * of those in the list, after all have ended; each request has its own `error`.
   */
  static waitAllSync(requests: RequestList): void {
    sets.waitAllSync(requests);
  }

  /** Resolves when all are done. Rejects as `waitAllSync` throws. */
  static waitAll(requests: RequestList): Promise<void> {
    return sets.waitAll(requests);
  }

  /**
   * Blocks until one is done and returns its place and status (MPI_Waitany); undefined when none is active. A request is
   * active until a wait or a test has told that it is done.
   */
  static waitAnySync(requests: RequestList): Completion | undefined {
    return sets.waitAnySync(requests);
  }

  /** Resolves when one is done. As `waitAnySync` otherwise. */
  static waitAny(requests: RequestList): Promise<Completion | undefined> {
    return sets.waitAny(requests);
  }

  /** Blocks until at least one is done and returns all that are (MPI_Waitsome); none when none is active. */
  static waitSomeSync(requests: RequestList): Completion[] {
    return sets.waitSomeSync(requests);
  }

  /** Resolves when at least one is done. As `waitSomeSync` otherwise. */
  static waitSome(requests: RequestList): Promise<Completion[]> {
    return sets.waitSome(requests);
  }

  /** Makes progress; true if all are done (MPI_Testall). */
  static testAll(requests: RequestList): boolean {
    return sets.testAll(requests);
  }

  /** Makes progress; one that is done, undefined if there is none (MPI_Testany). */
  static testAny(requests: RequestList): Completion | undefined {
    return sets.testAny(requests);
  }

  /** Makes progress; all that are done (MPI_Testsome). */
  static testSome(requests: RequestList): Completion[] {
    return sets.testSome(requests);
  }

  /** @internal */
  get isActive(): boolean {
    return !this.isCollected;
  }

  /** @internal */
  get isProbe(): boolean {
    return this.kind >= PROBE;
  }

  /** @internal True if the operation is, or perhaps will be, withdrawn. */
  withdraw(reason: Error): boolean {
    if (this.#done || this.withdrawal !== undefined) return false;
    const isTakenBack = this.scope.owner.withdraw(this);
    if (isTakenBack === undefined) this.withdrawal = reason;
    if (isTakenBack === true) this.fail(reason);
    return isTakenBack !== false;
  }

  /** @internal Calls back when the request is done, which the event loop now sees to. */
  listen(listener: () => void): void {
    this.#listeners.push(listener);
    this.#isAttended = true;
    if (this.#listeners.length === 1) this.scope.owner.drive();
  }

  /** @internal */
  unlisten(listener: () => void): void {
    const index = this.#listeners.indexOf(listener);
    if (index < 0) return;
    this.#listeners.splice(index, 1);
    if (this.#listeners.length === 0) this.scope.owner.settled();
  }

  /** @internal Calls back when the request is done; nobody waits for that. */
  observe(observer: () => void): void {
    this.#observer = observer;
    this.#isAttended = true;
  }

  /** @internal The memory's selection gets what arrives in the memory. */
  distribute(): void {
    this.#isAttended = true;
  }

  /** @internal */
  complete(): void {
    if (this.#isAttended) this.#attend();
    else this.#done = true;
  }

  /** @internal */
  fail(error: Error): void {
    if (this.#done) return;
    this.#done = true;
    this.#error = error;
    this.#tell();
  }

  /** @internal Makes a request ready for the next operation. */
  reuse(): void {
    this.#done = false;
    this.#isAttended = false;
    this.#observer = undefined;
    this.#error = undefined;
    this.#promise = undefined;
    this.source = -1;
    this.progressed = 0;
    this.id = 0;
    this.withdrawal = undefined;
    this.isCollected = false;
  }

  /** @internal */
  fillStatus(status: Status): Status {
    if (this.source >= 0) {
      status.source = this.scope.rankOf(this.source);
      status.tag = this.matchedTag;
      status.byteLength = this.byteLength;
    } else {
      // A send, or what never met a message (MPI 4.1, section 3.7.3: the empty status).
      status.source = this.kind !== SEND && this.peer === PROC_NULL ? PROC_NULL : ANY_SOURCE;
      status.tag = ANY_TAG;
      status.byteLength = 0;
    }
    status.error = this.#error;
    return status;
  }

  /** @internal For messages: `receive from any rank, tag 7`. */
  describe(): string {
    const tag = this.tag === ANY_TAG ? 'any tag' : `tag ${this.tag}`;
    const peer = this.peer === ANY_SOURCE ? 'any rank' : `rank ${this.#peerHere}`;
    const where = this.scope.name === 'world' ? '' : ` of ${this.scope.name}`;
    return `${NAMES[this.kind]} ${this.kind === SEND ? 'to' : 'from'} ${peer}${where}, ${tag}`;
  }

  /** @internal */
  operands(): Record<string, unknown> {
    return {
      peer: this.#peerHere,
      tag: this.tag,
      byteLength: this.memory.byteLength,
      communicator: this.scope.name,
    };
  }

  get #peerHere(): number {
    return this.peer < 0 ? this.peer : this.scope.rankOf(this.peer);
  }

  #attend(): void {
    if (this.kind === RECEIVE && this.memory.selection !== undefined) {
      try {
        this.memory.selection.unpack(this.memory.bytes.subarray(0, this.byteLength));
      } catch (error) {
        this.fail(error as Error);
        return;
      }
    }
    this.#done = true;
    this.#tell();
  }

  #tell(): void {
    this.#observer?.();
    if (this.#listeners.length === 0) return;
    const listeners = this.#listeners;
    this.#listeners = [];
    this.scope.owner.settled();
    for (const listener of listeners) listener();
  }
}

/** One of several requests that is done. */
export interface Completion {
  /** Its place in the list. */
  readonly index: number;
  /** What `wait` would have returned. */
  readonly status: Status;
}
