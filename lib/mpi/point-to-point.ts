/** Sends and receives: in each mode, blocking, as requests, awaited and persistent (MPI 4.1, sections 3.2 to 3.9). */
import { AttachedBuffer } from './attached-buffer.js';
import type { Peer } from './channels/channel.js';
import { ANY_SOURCE, ANY_TAG, PROC_NULL } from './constants.js';
import { checkTag, type ErrorHandler, MpiError, noSuchRank } from './errors.js';
import { MemoryCache, type MessageBuffer, NO_MEMORY } from './memory.js';
import { PersistentRequest } from './persistent-request.js';
import { RECEIVE, Request, SEND, STANDARD, SYNCHRONOUS } from './request.js';
import type { Scope } from './scope.js';
import { Status } from './status.js';
import { bounded, type WaitOptions } from './withdrawal.js';

/** A mode of the public face: how the channels send it. A ready send is a standard one. */
type Mode = 'standard' | 'synchronous' | 'buffered';

/** What all communicators can do, those between two groups included: send to and receive from their ranks. */
export abstract class PointToPoint {
  /** The number of this process in its group, from 0 to `size - 1` (MPI_Comm_rank). */
  readonly rank: number;
  /** How many ranks this process's group has (MPI_Comm_size). */
  readonly size: number;
  /** @internal */
  protected readonly scope: Scope;
  readonly #context: number;
  readonly #peers: readonly Peer[];
  readonly #worldRanks: Int32Array;
  /** Ranks from here on are none; 0 once the communicator was freed. */
  #limit: number;
  readonly #sending = new MemoryCache(false);
  readonly #receiving = new MemoryCache(true);
  /** Kept by the blocking calls, so that they make nothing. */
  readonly #blockingSend: Request;
  readonly #blockingReceive: Request;
  #attached: AttachedBuffer | undefined;
  #attachedAs: ArrayBufferView | undefined;

  /** @internal */
  constructor(scope: Scope, size: number) {
    this.rank = scope.rank;
    this.size = size;
    this.scope = scope;
    this.#context = scope.context;
    this.#peers = scope.peers;
    this.#worldRanks = scope.members.worldRanks;
    this.#limit = scope.members.size;
    this.#blockingSend = new Request(scope);
    this.#blockingReceive = new Request(scope);
    scope.onRevoked = () => {
      this.#limit = 0;
    };
  }

  /** What errors call the communicator, and reports; may be set (MPI_Comm_set_name). */
  get name(): string {
    return this.scope.name;
  }

  /** As the getter. */
  set name(name: string) {
    this.scope.name = name;
  }

  /** What becomes of errors; may be set (MPI_Comm_set_errhandler). Default: `throw`. */
  get errorHandler(): ErrorHandler {
    return this.scope.errorHandler;
  }

  /** As the getter. */
  set errorHandler(handler: ErrorHandler) {
    this.scope.errorHandler = handler;
  }

  /** The last error that the error handler did not throw. */
  get lastError(): MpiError | undefined {
    return this.scope.lastError;
  }

  /**
   * Sends and blocks until the buffer may be used again (MPI_Send).
   *
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_TAG`, `ERR_MPI_BUFFER`, `ERR_MPI_COMM`, `ERR_MPI_RANK_FAILED`,
   *   `ERR_MPI_DEADLOCK`.
   */
  sendSync(buffer: MessageBuffer, destination: number, tag = 0): void {
    try {
      if (!this.#isRank(destination, 'sendSync')) return;
      checkTag(tag, 'sendSync');
      const memory = this.#sending.of(buffer, 'sendSync');
      if (this.#peers[destination].trySend(this.#context, tag, memory)) return;
      const request = this.#blockingSend;
      request.reuse();
      request.mode = STANDARD;
      request.context = this.#context;
      request.peer = this.#worldRanks[destination];
      request.tag = tag;
      request.memory = memory;
      this.scope.engine.startSend(request);
      this.#finish(request);
    } catch (error) {
      this.scope.raise(error as Error);
    }
  }

  /**
   * Receives and blocks until the message is there (MPI_Recv).
   *
   * @param status filled and returned; without one, a new one is.
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_TAG`, `ERR_MPI_BUFFER`, `ERR_MPI_TRUNCATE`, `ERR_MPI_COMM`,
   *   `ERR_MPI_RANK_FAILED`, `ERR_MPI_DEADLOCK`.
   */
  recvSync(
    buffer: MessageBuffer,
    source = ANY_SOURCE,
    tag = ANY_TAG,
    status: Status = new Status(),
  ): Status {
    const request = this.#blockingReceive;
    request.reuse();
    try {
      this.#startReceive(request, buffer, source, tag, 'recvSync');
      this.#finish(request);
    } catch (error) {
      this.scope.raise(error as Error);
      request.fail(error as Error);
    }
    return request.fillStatus(status);
  }

  /** Begins a send (MPI_Isend); await the request, or `waitSync` it. Errors of arguments are thrown here. */
  isend(buffer: MessageBuffer, destination: number, tag = 0): Request {
    return this.#isend('standard', buffer, destination, tag, 'isend');
  }

  /** Begins a receive (MPI_Irecv); await the request, or `waitSync` it. Errors of arguments are thrown here. */
  irecv(buffer: MessageBuffer, source = ANY_SOURCE, tag = ANY_TAG): Request {
    return this.begin((request) => {
      this.#startReceive(request, buffer, source, tag, 'irecv');
    });
  }

  /** Sends; resolves when the buffer may be used again. Rejects as `sendSync` throws. */
  async send(
    buffer: MessageBuffer,
    destination: number,
    tag = 0,
    options?: WaitOptions,
  ): Promise<void> {
    await this.#send('standard', buffer, destination, tag, options, 'send');
  }

  /** Receives; resolves to the status when the message is there. Rejects as `recvSync` throws. */
  async recv(
    buffer: MessageBuffer,
    source = ANY_SOURCE,
    tag = ANY_TAG,
    options?: WaitOptions,
  ): Promise<Status> {
    return this.wait(
      () =>
        this.begin((request) => {
          this.#startReceive(request, buffer, source, tag, 'recv');
        }),
      options,
    );
  }

  /** As `sendSync`, but returns only after a receive has met the message (MPI_Ssend). */
  ssendSync(buffer: MessageBuffer, destination: number, tag = 0): void {
    this.#sendSync('synchronous', buffer, destination, tag, 'ssendSync');
  }

  /** As `isend`; done when a receive has met the message (MPI_Issend). */
  issend(buffer: MessageBuffer, destination: number, tag = 0): Request {
    return this.#isend('synchronous', buffer, destination, tag, 'issend');
  }

  /** As `send`, but resolves only after a receive has met the message. */
  async ssend(
    buffer: MessageBuffer,
    destination: number,
    tag = 0,
    options?: WaitOptions,
  ): Promise<void> {
    await this.#send('synchronous', buffer, destination, tag, options, 'ssend');
  }

  /**
   * Sends without waiting for anybody: what can't go at once is copied to the attached buffer (MPI_Bsend).
   *
   * @throws MpiError `ERR_MPI_BUFFER` when that has no room, or when none is attached.
   */
  bsendSync(buffer: MessageBuffer, destination: number, tag = 0): void {
    this.#sendSync('buffered', buffer, destination, tag, 'bsendSync');
  }

  /** As `bsendSync`, with a request, which is done at once (MPI_Ibsend). */
  ibsend(buffer: MessageBuffer, destination: number, tag = 0): Request {
    return this.#isend('buffered', buffer, destination, tag, 'ibsend');
  }

  /** As `bsendSync`, which does not block either; errors reject. */
  async bsend(buffer: MessageBuffer, destination: number, tag = 0): Promise<void> {
    await this.#send('buffered', buffer, destination, tag, undefined, 'bsend');
  }

  /** As `sendSync`, for a receive that the caller knows to be posted (MPI_Rsend): no faster here than any other. */
  rsendSync(buffer: MessageBuffer, destination: number, tag = 0): void {
    this.#sendSync('standard', buffer, destination, tag, 'rsendSync');
  }

  /** As `isend`, for a receive that the caller knows to be posted (MPI_Irsend). */
  irsend(buffer: MessageBuffer, destination: number, tag = 0): Request {
    return this.#isend('standard', buffer, destination, tag, 'irsend');
  }

  /** As `send`, for a receive that the caller knows to be posted. */
  async rsend(
    buffer: MessageBuffer,
    destination: number,
    tag = 0,
    options?: WaitOptions,
  ): Promise<void> {
    await this.#send('standard', buffer, destination, tag, options, 'rsend');
  }

  /** A send to be started again and again (MPI_Send_init). */
  sendInit(buffer: MessageBuffer, destination: number, tag = 0): PersistentRequest {
    return this.#sendInit('standard', buffer, destination, tag, 'sendInit');
  }

  /** A synchronous send to be started again and again (MPI_Ssend_init). */
  ssendInit(buffer: MessageBuffer, destination: number, tag = 0): PersistentRequest {
    return this.#sendInit('synchronous', buffer, destination, tag, 'ssendInit');
  }

  /** A buffered send to be started again and again (MPI_Bsend_init). */
  bsendInit(buffer: MessageBuffer, destination: number, tag = 0): PersistentRequest {
    return this.#sendInit('buffered', buffer, destination, tag, 'bsendInit');
  }

  /** A ready send to be started again and again (MPI_Rsend_init). */
  rsendInit(buffer: MessageBuffer, destination: number, tag = 0): PersistentRequest {
    return this.#sendInit('standard', buffer, destination, tag, 'rsendInit');
  }

  /** A receive to be started again and again (MPI_Recv_init). */
  recvInit(buffer: MessageBuffer, source = ANY_SOURCE, tag = ANY_TAG): PersistentRequest {
    this.checkEnvelope(source, tag, 'recvInit');
    this.#receiving.of(buffer, 'recvInit');
    return new PersistentRequest(this.scope, (request) => {
      this.#startReceive(request, buffer, source, tag, 'start');
    });
  }

  /**
   * Gives buffered sends of this communicator memory (MPI_Comm_attach_buffer); without an argument each message gets as
   * much as it needs (MPI_BUFFER_AUTOMATIC).
   *
   * @throws MpiError `ERR_MPI_BUFFER` when there is one already.
   */
  attachBuffer(buffer?: ArrayBufferView): void {
    if (this.#attached !== undefined) {
      throw new MpiError(
        'ERR_MPI_BUFFER',
        `attachBuffer: ${this.name} has a buffer already; detach that one first`,
        { call: 'attachBuffer' },
      );
    }
    const bytes = buffer === undefined ? undefined : this.#sending.of(buffer, 'attachBuffer').bytes;
    this.#attached = new AttachedBuffer(bytes);
    this.#attachedAs = buffer;
  }

  /**
   * Takes the memory back, after all messages in it are sent (MPI_Comm_detach_buffer); undefined when none was attached,
   * or none needed.
   */
  detachBufferSync(): ArrayBufferView | undefined {
    Request.waitAllSync(this.#attached?.pending ?? []);
    return this.#detach();
  }

  /** As `detachBufferSync`, awaited. */
  async detachBuffer(): Promise<ArrayBufferView | undefined> {
    await Request.waitAll(this.#attached?.pending ?? []);
    return this.#detach();
  }

  /** @internal A request that `start` begins; with an error handler that does not throw, errors fail it. */
  protected begin(start: (request: Request) => void): Request {
    const request = new Request(this.scope);
    try {
      start(request);
    } catch (error) {
      if (this.scope.errorHandler === 'throw') throw error;
      request.fail(error as Error);
    }
    return request;
  }

  /** @internal */
  protected wait(begin: () => Request, options: WaitOptions | undefined): Promise<Status> {
    return bounded(begin, options, () => this.scope.engine.explainWaits());
  }

  /** @internal True for a rank that messages come from; false for PROC_NULL. */
  protected checkEnvelope(source: number, tag: number, call: string): boolean {
    if (tag !== ANY_TAG) checkTag(tag, call);
    if (source !== ANY_SOURCE) return this.#isRank(source, call);
    if (this.#limit === 0) this.scope.checkUsable(call);
    return true;
  }

  /** @internal The envelope of a receive or a probe. */
  protected address(request: Request, source: number, tag: number): void {
    request.context = this.#context;
    request.peer = source < 0 ? source : this.#worldRanks[source];
    request.tag = tag;
  }

  /** @internal */
  protected markFreed(): void {
    this.scope.isFreed = true;
    this.#limit = 0;
  }

  #startReceive(
    request: Request,
    buffer: MessageBuffer,
    source: number,
    tag: number,
    call: string,
  ): void {
    request.kind = RECEIVE;
    const isRank = this.checkEnvelope(source, tag, call);
    this.address(request, source, tag);
    const memory = this.#receiving.of(buffer, call);
    request.memory = memory;
    if (memory.selection !== undefined) request.distribute();
    if (isRank) this.scope.engine.startReceive(request);
    else request.complete();
  }

  #sendSync(
    mode: Mode,
    buffer: MessageBuffer,
    destination: number,
    tag: number,
    call: string,
  ): void {
    const request = this.#blockingSend;
    request.reuse();
    try {
      this.#startSend(request, mode, buffer, destination, tag, call);
      this.#finish(request);
    } catch (error) {
      this.scope.raise(error as Error);
    }
  }

  #isend(
    mode: Mode,
    buffer: MessageBuffer,
    destination: number,
    tag: number,
    call: string,
  ): Request {
    return this.begin((request) => {
      this.#startSend(request, mode, buffer, destination, tag, call);
    });
  }

  #send(
    mode: Mode,
    buffer: MessageBuffer,
    destination: number,
    tag: number,
    options: WaitOptions | undefined,
    call: string,
  ): Promise<Status> {
    return this.wait(() => this.#isend(mode, buffer, destination, tag, call), options);
  }

  #sendInit(
    mode: Mode,
    buffer: MessageBuffer,
    destination: number,
    tag: number,
    call: string,
  ): PersistentRequest {
    this.#isRank(destination, call);
    checkTag(tag, call);
    this.#sending.of(buffer, call);
    return new PersistentRequest(this.scope, (request) => {
      this.#startSend(request, mode, buffer, destination, tag, 'start');
    });
  }

  #startSend(
    request: Request,
    mode: Mode,
    buffer: MessageBuffer,
    destination: number,
    tag: number,
    call: string,
  ): void {
    const isRank = this.#isRank(destination, call);
    checkTag(tag, call);
    const memory = this.#sending.of(buffer, call);
    request.kind = SEND;
    request.mode = mode === 'synchronous' ? SYNCHRONOUS : STANDARD;
    request.context = this.#context;
    request.peer = isRank ? this.#worldRanks[destination] : PROC_NULL;
    request.tag = tag;
    request.memory = memory;
    if (mode === 'buffered') {
      this.#startBuffered(request, destination);
    } else if (
      !isRank ||
      (mode === 'standard' && this.#peers[destination].trySend(this.#context, tag, memory))
    ) {
      request.complete();
    } else {
      this.scope.engine.startSend(request);
    }
  }

  /** Completes the request; another one sends the copy, if there has to be one. */
  #startBuffered(request: Request, destination: number): void {
    const { context, tag, memory, peer } = request;
    const attached = this.#attached;
    if (attached === undefined) {
      throw new MpiError(
        'ERR_MPI_BUFFER',
        'bsend: no buffer is attached to this communicator; call attachBuffer before',
        { call: 'bsend' },
      );
    }
    if (peer !== PROC_NULL && !this.#peers[destination].trySend(context, tag, memory)) {
      const sender = new Request(this.scope);
      sender.kind = SEND;
      sender.context = context;
      sender.peer = peer;
      sender.tag = tag;
      sender.memory = attached.hold(memory, sender);
      this.scope.engine.startSend(sender);
    }
    request.memory = NO_MEMORY;
    request.complete();
  }

  #detach(): ArrayBufferView | undefined {
    const buffer = this.#attachedAs;
    this.#attached = undefined;
    this.#attachedAs = undefined;
    return buffer;
  }

  #finish(request: Request): void {
    if (!request.done) this.scope.engine.wait(request);
    if (request.error !== undefined) throw request.error;
  }

  /** True for a rank that can be sent to; false for PROC_NULL; throws for others. */
  #isRank(rank: number, call: string): boolean {
    return (rank >= 0 && rank < this.#limit && (rank | 0) === rank) || this.#isNoRank(rank, call);
  }

  #isNoRank(rank: number, call: string): false {
    this.scope.checkUsable(call);
    if (rank !== PROC_NULL) throw noSuchRank(rank, this.#limit, call);
    return false;
  }
}
