/** A message that a matched probe has taken from those that wait, to be received by whoever has it (MPI 4.1, section 3.8.2). */
import { PROC_NULL } from './constants.js';
import { MpiError } from './errors.js';
import type { UnexpectedMessage } from './matching.js';
import { MemoryCache, type MessageBuffer, NO_MEMORY } from './memory.js';
import { RECEIVE, Request } from './request.js';
import type { Scope } from './scope.js';
import type { Received } from './probing.js';
import { Status } from './status.js';

/**
 * Returned by `mprobe`, `mprobeSync` and `improbe`. No other receive or probe meets the message any more.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * if (world.rank === 0) await world.send(Float64Array.of(1, 2, 3), 1, 4);
 * if (world.rank === 1) {
 *   const message = await world.mprobe(0);
 *   const numbers = new Float64Array(message.byteLength / 8);
 *   await message.recv(numbers);
 *   console.log(message.tag, numbers.join(' ')); // prints [1] 4 1 2 3
 * }
 * ```
 */
export class Message {
  /** What is known of it before it is received. */
  readonly status: Status;
  readonly #scope: Scope;
  readonly #memories = new MemoryCache(true);
  #message: UnexpectedMessage | undefined;

  /** @internal @param message undefined: no process's, which anybody receives (MPI_MESSAGE_NO_PROC). */
  constructor(scope: Scope, message: UnexpectedMessage | undefined, status: Status) {
    this.#scope = scope;
    this.#message = message;
    this.status = status;
  }

  /** Rank of the sender. */
  get source(): number {
    return this.status.source;
  }

  /** Tag of the message. */
  get tag(): number {
    return this.status.tag;
  }

  /** Size of the message. */
  get byteLength(): number {
    return this.status.byteLength;
  }

  /**
   * Begins to receive it (MPI_Imrecv).
   *
   * @throws MpiError `ERR_MPI_REQUEST` when it was received already; `ERR_MPI_BUFFER`.
   */
  irecv(buffer: MessageBuffer): Request {
    const request = new Request(this.#scope);
    request.memory = this.#memories.of(buffer, 'message.irecv');
    if (request.memory.selection !== undefined) request.distribute();
    return this.#begin(request);
  }

  /**
   * Receives it, and blocks until it is there (MPI_Mrecv).
   *
   * @throws MpiError `ERR_MPI_TRUNCATE`, `ERR_MPI_RANK_FAILED`, and as `irecv`.
   */
  recvSync(buffer: MessageBuffer, status: Status = new Status()): Status {
    return this.irecv(buffer).waitSync(status);
  }

  /** Receives it; rejects as `recvSync` throws. */
  async recv(buffer: MessageBuffer): Promise<Status> {
    return this.irecv(buffer).promise();
  }

  /** Receives it into memory of its own. */
  async receive(): Promise<Received> {
    const request = new Request(this.#scope);
    request.isOfAnySize = true;
    const status = await this.#begin(request);
    return { data: request.memory.bytes, status };
  }

  #begin(request: Request): Request {
    const message = this.#message;
    request.kind = RECEIVE;
    if (this.status.source === PROC_NULL) {
      request.peer = PROC_NULL;
      request.memory = NO_MEMORY;
      request.complete();
      return request;
    }
    if (message === undefined) {
      throw new MpiError(
        'ERR_MPI_REQUEST',
        'message.recv: this message was received already; probe for the next one',
        { call: 'message.recv' },
      );
    }
    this.#message = undefined;
    request.context = message.context;
    request.peer = message.source;
    request.tag = message.tag;
    this.#scope.engine.receiveMatched(message, request);
    return request;
  }
}
