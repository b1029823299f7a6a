/** A communicator: ranks that speak to each other, apart from all other communicators. */
import { barrier, barrierSync } from './barrier.js';
import { ANY_SOURCE, ANY_TAG, TAG_UPPER_BOUND } from './constants.js';
import type { Engine } from './engine.js';
import { MpiError } from './errors.js';
import { MemoryCache, type MessageBuffer } from './memory.js';
import { RECEIVE, Request, SEND } from './request.js';
import { Status } from './status.js';

/** For calls that wait without blocking. */
export interface WaitOptions {
  /** Withdraws the operation, which then rejects with `ERR_MPI_ABORTED`, unless its message is under way. */
  readonly signal?: AbortSignal | undefined;
  /** The same after this time, with `ERR_MPI_TIMEOUT`. Default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Ranks 0 to `size - 1`, of which this process is `rank`.
 *
 * A name that ends in `Sync` blocks the thread, the others return promises, and `isend` and `irecv` return a
 * request. Messages of one sender to one receiver arrive in order (MPI 4.1, section 3.5).
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const view = new Float64Array(4);
 * if (world.rank === 0) await world.send(view.fill(1), 1, 7);
 * if (world.rank === 1) {
 *   const { source, tag, byteLength } = await world.recv(view, 0, 7);
 *   console.log(source, tag, byteLength, view.join(' ')); // prints [1] 0 7 32 1 1 1 1
 * }
 * await world.barrier();
 * ```
 */
export class Communicator {
  /** The number of this process among the communicator's, from 0 to `size - 1` (MPI_Comm_rank). */
  readonly rank: number;
  /** How many ranks there are (MPI_Comm_size). */
  readonly size: number;
  readonly #engine: Engine;
  /** Point-to-point messages have one context, collective operations the next. */
  readonly #context: number;
  readonly #sending = new MemoryCache();
  readonly #receiving = new MemoryCache();
  /** Kept by the blocking calls, so that they make nothing. */
  readonly #blockingSend: Request;
  readonly #blockingReceive: Request;

  /** @internal */
  constructor(engine: Engine, context: number) {
    this.rank = engine.rank;
    this.size = engine.size;
    this.#engine = engine;
    this.#context = context;
    this.#blockingSend = new Request(engine);
    this.#blockingReceive = new Request(engine);
  }

  /**
   * Sends and blocks until the buffer may be used again (MPI_Send).
   *
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_TAG`, `ERR_MPI_BUFFER`, `ERR_MPI_RANK_FAILED`, `ERR_MPI_DEADLOCK`.
   */
  sendSync(buffer: MessageBuffer, destination: number, tag = 0): void {
    this.#checkRank(destination, 'sendSync');
    checkTag(tag, 'sendSync');
    const memory = this.#sending.of(buffer, 'sendSync');
    if (this.#engine.peer(destination).trySend(this.#context, tag, memory)) return;
    const request = this.#blockingSend;
    request.reuse();
    request.context = this.#context;
    request.peer = destination;
    request.tag = tag;
    request.memory = memory;
    this.#engine.startSend(request);
    this.#finish(request);
  }

  /**
   * Receives and blocks until the message is there (MPI_Recv).
   *
   * @param status filled and returned; without one, a new one is.
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_TAG`, `ERR_MPI_BUFFER`, `ERR_MPI_TRUNCATE`, `ERR_MPI_RANK_FAILED`,
   *   `ERR_MPI_DEADLOCK`.
   */
  recvSync(
    buffer: MessageBuffer,
    source = ANY_SOURCE,
    tag = ANY_TAG,
    status: Status = new Status(),
  ): Status {
    if (source !== ANY_SOURCE) this.#checkRank(source, 'recvSync');
    if (tag !== ANY_TAG) checkTag(tag, 'recvSync');
    const request = this.#blockingReceive;
    request.reuse();
    request.context = this.#context;
    request.peer = source;
    request.tag = tag;
    request.source = -1;
    request.memory = this.#receiving.of(buffer, 'recvSync');
    this.#engine.startReceive(request);
    this.#finish(request);
    return request.fillStatus(status);
  }

  /** Begins a send (MPI_Isend); await the request, or `waitSync` it. Errors of arguments are thrown here. */
  isend(buffer: MessageBuffer, destination: number, tag = 0): Request {
    this.#checkRank(destination, 'isend');
    checkTag(tag, 'isend');
    return this.#isend(buffer, destination, tag);
  }

  /** Begins a receive (MPI_Irecv); await the request, or `waitSync` it. Errors of arguments are thrown here. */
  irecv(buffer: MessageBuffer, source = ANY_SOURCE, tag = ANY_TAG): Request {
    if (source !== ANY_SOURCE) this.#checkRank(source, 'irecv');
    if (tag !== ANY_TAG) checkTag(tag, 'irecv');
    return this.#irecv(buffer, source, tag);
  }

  /** Sends; resolves when the buffer may be used again. Rejects as `sendSync` throws. */
  async send(
    buffer: MessageBuffer,
    destination: number,
    tag = 0,
    options?: WaitOptions,
  ): Promise<void> {
    this.#checkRank(destination, 'send');
    checkTag(tag, 'send');
    await bounded(() => this.#isend(buffer, destination, tag), options);
  }

  /** Receives; resolves to the status when the message is there. Rejects as `recvSync` throws. */
  async recv(
    buffer: MessageBuffer,
    source = ANY_SOURCE,
    tag = ANY_TAG,
    options?: WaitOptions,
  ): Promise<Status> {
    if (source !== ANY_SOURCE) this.#checkRank(source, 'recv');
    if (tag !== ANY_TAG) checkTag(tag, 'recv');
    return bounded(() => this.#irecv(buffer, source, tag), options);
  }

  /**
   * Blocks until all ranks of the communicator are in this call (MPI_Barrier).
   *
   * @throws MpiError `ERR_MPI_RANK_FAILED` when one is gone that should have come.
   */
  barrierSync(): void {
    barrierSync(this.#engine, this.#context + 1);
  }

  /** Resolves when all ranks of the communicator are in this call (MPI_Barrier). Rejects as `barrierSync` throws. */
  barrier(): Promise<void> {
    return barrier(this.#engine, this.#context + 1);
  }

  #isend(buffer: MessageBuffer, destination: number, tag: number): Request {
    const memory = this.#sending.of(buffer, 'isend');
    const request = new Request(this.#engine);
    request.kind = SEND;
    request.context = this.#context;
    request.peer = destination;
    request.tag = tag;
    request.memory = memory;
    if (this.#engine.peer(destination).trySend(this.#context, tag, memory)) request.complete();
    else this.#engine.startSend(request);
    return request;
  }

  #irecv(buffer: MessageBuffer, source: number, tag: number): Request {
    const request = new Request(this.#engine);
    request.kind = RECEIVE;
    request.context = this.#context;
    request.peer = source;
    request.tag = tag;
    request.memory = this.#receiving.of(buffer, 'irecv');
    this.#engine.startReceive(request);
    return request;
  }

  #finish(request: Request): void {
    if (!request.done) this.#engine.wait(request);
    if (request.error !== undefined) throw request.error;
  }

  #checkRank(rank: number, call: string): void {
    if (rank < 0 || rank >= this.size || (rank | 0) !== rank)
      throw noSuchRank(rank, this.size, call);
  }
}

function noSuchRank(rank: number, size: number, call: string): MpiError {
  return new MpiError(
    'ERR_MPI_RANK',
    `${call}: there is no rank ${String(rank)} in this communicator; its ranks are 0 to ${size - 1}`,
    { call, operands: { rank, size } },
  );
}

function checkTag(tag: number, call: string): void {
  if (tag < 0 || (tag | 0) !== tag) throw noTag(tag, call);
}

function noTag(tag: number, call: string): MpiError {
  return new MpiError(
    'ERR_MPI_TAG',
    `${call}: a tag is a whole number from 0 to ${TAG_UPPER_BOUND}, not ${String(tag)}` +
      (tag === ANY_TAG ? '; ANY_TAG is for receives only' : ''),
    { call, operands: { tag } },
  );
}

/** Begins an operation and awaits it, within what the options allow. */
async function bounded(begin: () => Request, options: WaitOptions | undefined): Promise<Status> {
  const signal = options?.signal;
  const timeoutMs = options?.timeoutMs;
  if (signal === undefined && timeoutMs === undefined) return begin().promise();
  if (signal?.aborted === true) throw aborted('the operation was not begun', signal);
  const request = begin();
  const onAbort = (): void => {
    request.withdraw(aborted(`${request.describe()} was withdrawn`, signal));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          request.withdraw(
            new MpiError(
              'ERR_MPI_TIMEOUT',
              `${request.describe()}: nothing came of it in ${timeoutMs} ms, and it was withdrawn`,
              { operands: { ...request.operands(), timeoutMs } },
            ),
          );
        }, timeoutMs);
  try {
    return await request;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

function aborted(what: string, signal: AbortSignal | undefined): MpiError {
  return new MpiError('ERR_MPI_ABORTED', `${what}: its AbortSignal was aborted`, {
    cause: signal?.reason as unknown,
  });
}
