/** Messages whose size or content is not known beforehand, and exchanges in both directions (MPI 4.1, sections 3.8, 3.11). */
import type { Explanation } from './channels/channel.js';
import { ANY_SOURCE, ANY_TAG, PROC_NULL } from './constants.js';
import { MpiError, noSuchRank } from './errors.js';
import { Memory, type MessageBuffer, NO_MEMORY, Selection } from './memory.js';
import { Message } from './message.js';
import { decodeObject, encodeObject } from './objects.js';
import { PointToPoint } from './point-to-point.js';
import { MATCHED_PROBE, PROBE, RECEIVE, Request, SEND } from './request.js';
import { PARTS } from './scope.js';
import { Status } from './status.js';
import type { TrafficCounters } from './traffic.js';
import type { WaitOptions } from './withdrawal.js';

/** A message of any size. */
export interface Received {
  /** Its bytes, in memory of its own. */
  readonly data: Uint8Array;
  /** Who sent it. */
  readonly status: Status;
}

/** What `recvObject` resolves to. */
export interface ReceivedObject {
  /** A clone of what was sent. */
  readonly value: unknown;
  /** Who sent it; the size is that of all but its large binary parts. */
  readonly status: Status;
}

/** What communicators can do besides plain sends and receives. */
export abstract class Messaging extends PointToPoint {
  #objects = 0;

  /**
   * Blocks until there is a message that a receive of this envelope would get, and tells of it (MPI_Probe).
   *
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_TAG`, `ERR_MPI_COMM`, `ERR_MPI_RANK_FAILED`.
   */
  probeSync(source = ANY_SOURCE, tag = ANY_TAG, status: Status = new Status()): Status {
    return this.#iprobe(PROBE, source, tag, 'probeSync').waitSync(status);
  }

  /** Resolves when there is a message that a receive of this envelope would get. Rejects as `probeSync` throws. */
  async probe(source = ANY_SOURCE, tag = ANY_TAG, options?: WaitOptions): Promise<Status> {
    return this.wait(() => this.#iprobe(PROBE, source, tag, 'probe'), options);
  }

  /** Tells of a message that a receive of this envelope would get now; undefined if there is none (MPI_Iprobe). */
  iprobe(source = ANY_SOURCE, tag = ANY_TAG): Status | undefined {
    return this.#probeNow(PROBE, source, tag, 'iprobe')?.status;
  }

  /** As `probeSync`, and takes the message away for the caller alone to receive (MPI_Mprobe). */
  mprobeSync(source = ANY_SOURCE, tag = ANY_TAG): Message {
    const request = this.#iprobe(MATCHED_PROBE, source, tag, 'mprobeSync');
    return this.#messageOf(request, request.waitSync());
  }

  /** As `probe`, and takes the message away for the caller alone to receive. */
  async mprobe(source = ANY_SOURCE, tag = ANY_TAG, options?: WaitOptions): Promise<Message> {
    let request: Request | undefined;
    const begin = (): Request => (request = this.#iprobe(MATCHED_PROBE, source, tag, 'mprobe'));
    const status = await this.wait(begin, options);
    return this.#messageOf(request!, status);
  }

  /** As `iprobe`, and takes the message away for the caller alone to receive (MPI_Improbe). */
  improbe(source = ANY_SOURCE, tag = ANY_TAG): Message | undefined {
    const request = this.#probeNow(MATCHED_PROBE, source, tag, 'improbe');
    return request === undefined ? undefined : this.#messageOf(request, request.status);
  }

  /**
   * Receives a message of any size, into memory of its own.
   *
   * ```ts
   * // viaduct run -n 2 -- node app.js
   * import { init } from 'viaduct/mpi';
   *
   * await using job = await init();
   * const { world } = job;
   * if (world.rank === 0) await world.send(Buffer.from('of any length'), 1, 7);
   * if (world.rank === 1) {
   *   const { data, status } = await world.receive(0);
   *   console.log(status.tag, Buffer.from(data).toString()); // prints [1] 7 of any length
   * }
   * ```
   */
  async receive(source = ANY_SOURCE, tag = ANY_TAG, options?: WaitOptions): Promise<Received> {
    let request: Request | undefined;
    const begin = (): Request => (request = this.#ireceive(source, tag, 'receive'));
    const status = await this.wait(begin, options);
    return { data: request!.memory.bytes, status };
  }

  /** As `receive`, and blocks until the message is there. */
  receiveSync(source = ANY_SOURCE, tag = ANY_TAG): Received {
    const request = this.#ireceive(source, tag, 'receiveSync');
    const status = request.waitSync();
    return { data: request.memory.bytes, status };
  }

  /**
   * Sends a clone of any value that `structuredClone` can copy. Views of large buffers in it are not copied to be sent:
   * leave them alone until this resolves. It resolves when they have been received, if there are any.
   *
   * @throws MpiError `ERR_MPI_TYPE` for what can't be cloned, such as a function; and as `send`.
   */
  async sendObject(
    value: unknown,
    destination: number,
    tag = 0,
    options?: WaitOptions,
  ): Promise<void> {
    const [head, ...parts] = this.#isendObject(value, destination, tag, 'sendObject');
    await this.wait(() => head, options);
    await Request.waitAll(parts);
  }

  /** As `sendObject`, and blocks until the value may be changed again. */
  sendObjectSync(value: unknown, destination: number, tag = 0): void {
    Request.waitAllSync(this.#isendObject(value, destination, tag, 'sendObjectSync'));
  }

  /**
   * Receives what `sendObject` sent; large binary parts are received into the memory that they stay in.
   *
   * @throws MpiError `ERR_MPI_TYPE` when the message is no object; and as `recv`.
   */
  async recvObject(
    source = ANY_SOURCE,
    tag = ANY_TAG,
    options?: WaitOptions,
  ): Promise<ReceivedObject> {
    const { data, status } = await this.receive(source, tag, options);
    const { value, parts } = this.#decode(data, status);
    await Request.waitAll(parts);
    return { value, status };
  }

  /** As `recvObject`, and blocks until the value is there. */
  recvObjectSync(source = ANY_SOURCE, tag = ANY_TAG): ReceivedObject {
    const { data, status } = this.receiveSync(source, tag);
    const { value, parts } = this.#decode(data, status);
    Request.waitAllSync(parts);
    return { value, status };
  }

  /** Sends and receives at the same time, and blocks until both are done (MPI_Sendrecv). */
  sendrecvSync(
    sendBuffer: MessageBuffer,
    destination: number,
    sendTag: number,
    recvBuffer: MessageBuffer,
    source = ANY_SOURCE,
    recvTag = ANY_TAG,
    status: Status = new Status(),
  ): Status {
    const receive = this.irecv(recvBuffer, source, recvTag);
    const send = this.#sendBeside(receive, sendBuffer, destination, sendTag);
    send.waitSync();
    return receive.waitSync(status);
  }

  /** Sends and receives at the same time; resolves to the status of the receive. */
  async sendrecv(
    sendBuffer: MessageBuffer,
    destination: number,
    sendTag: number,
    recvBuffer: MessageBuffer,
    source = ANY_SOURCE,
    recvTag = ANY_TAG,
  ): Promise<Status> {
    const receive = this.irecv(recvBuffer, source, recvTag);
    const send = this.#sendBeside(receive, sendBuffer, destination, sendTag);
    const [, status] = await Promise.all([send.promise(), receive.promise()]);
    return status;
  }

  /** Sends what a buffer holds and receives into it, and blocks until both are done (MPI_Sendrecv_replace). */
  sendrecvReplaceSync(
    buffer: MessageBuffer,
    destination: number,
    sendTag: number,
    source = ANY_SOURCE,
    recvTag = ANY_TAG,
    status: Status = new Status(),
  ): Status {
    return this.sendrecvSync(copyOf(buffer), destination, sendTag, buffer, source, recvTag, status);
  }

  /** Sends what a buffer holds and receives into it; resolves to the status of the receive. */
  async sendrecvReplace(
    buffer: MessageBuffer,
    destination: number,
    sendTag: number,
    source = ANY_SOURCE,
    recvTag = ANY_TAG,
  ): Promise<Status> {
    return this.sendrecv(copyOf(buffer), destination, sendTag, buffer, source, recvTag);
  }

  /**
   * By which channel and protocol a message of this size would go to a rank, and why.
   *
   * @throws MpiError `ERR_MPI_RANK`, `ERR_MPI_COUNT`.
   */
  explain(byteLength: number, rank: number): Explanation {
    if (!(Number.isSafeInteger(byteLength) && byteLength >= 0)) {
      throw new MpiError('ERR_MPI_COUNT', `explain: a size is a whole number, not ${byteLength}`, {
        call: 'explain',
        operands: { byteLength },
      });
    }
    return this.#peer(rank, 'explain').explain(byteLength);
  }

  /**
   * What has gone to and come from a rank since the start, in all communicators together.
   *
   * @throws MpiError `ERR_MPI_RANK`.
   */
  counters(rank: number): TrafficCounters {
    return this.#peer(rank, 'counters').counters();
  }

  /**
   * Ends the job: this process with an exit status, by which the launcher ends the others (MPI_Abort). Does not return.
   *
   * @param reason what the standard error is told.
   */
  abort(exitCode = 1, reason = 'the program called abort'): never {
    return this.scope.engine.abort(exitCode, reason);
  }

  #peer(rank: number, call: string) {
    this.scope.checkUsable(call);
    const peer = this.scope.peers[rank];
    if (peer === undefined) throw noSuchRank(rank, this.scope.peers.length, call);
    return peer;
  }

  #startProbe(request: Request, source: number, tag: number, call: string): boolean {
    const isRank = this.checkEnvelope(source, tag, call);
    this.address(request, source, tag);
    if (!isRank) request.complete();
    return isRank;
  }

  #iprobe(kind: number, source: number, tag: number, call: string): Request {
    return this.begin((request) => {
      request.kind = kind;
      if (this.#startProbe(request, source, tag, call)) this.scope.engine.startProbe(request);
    });
  }

  #probeNow(kind: number, source: number, tag: number, call: string): Request | undefined {
    const request = new Request(this.scope);
    request.kind = kind;
    try {
      if (!this.#startProbe(request, source, tag, call)) return request;
    } catch (error) {
      this.scope.raise(error as Error);
      return undefined;
    }
    const { engine } = this.scope;
    engine.poll();
    return engine.incoming.probe(request) ? request : undefined;
  }

  #messageOf(request: Request, status: Status): Message {
    return new Message(this.scope, request.message, status);
  }

  #ireceive(source: number, tag: number, call: string): Request {
    return this.begin((request) => {
      request.kind = RECEIVE;
      const isRank = this.checkEnvelope(source, tag, call);
      this.address(request, source, tag);
      request.memory = NO_MEMORY;
      request.isOfAnySize = true;
      if (isRank) this.scope.engine.startReceive(request);
      else request.complete();
    });
  }

  /** A send whose receive is withdrawn if the send can't even begin. */
  #sendBeside(receive: Request, buffer: MessageBuffer, destination: number, tag: number): Request {
    try {
      return this.isend(buffer, destination, tag);
    } catch (error) {
      receive.cancel();
      throw error;
    }
  }

  #isendObject(value: unknown, destination: number, tag: number, call: string): Request[] {
    // Parts go by a context of their own, under tags that the head names.
    const firstTag = this.#objects;
    const { head, parts } = encodeObject(value, firstTag, call);
    this.#objects = (firstTag + parts.length) % 2 ** 30;
    const requests = [this.isend(head, destination, tag)];
    if (destination === PROC_NULL) return requests;
    for (const [index, part] of parts.entries()) {
      const request = this.#partRequest(
        this.scope.members.worldRanks[destination],
        firstTag + index,
      );
      request.kind = SEND;
      request.memory = Memory.of(part);
      this.scope.engine.startSend(request);
      requests.push(request);
    }
    return requests;
  }

  #decode(data: Uint8Array, status: Status): { value: unknown; parts: Request[] } {
    if (status.source < 0) return { value: undefined, parts: [] };
    const { value, firstTag, parts } = decodeObject(data);
    const source = this.scope.members.worldRanks[status.source];
    const requests = parts.map((part, index) => {
      const request = this.#partRequest(source, firstTag + index);
      request.kind = RECEIVE;
      request.memory = Memory.of(part);
      this.scope.engine.startReceive(request);
      return request;
    });
    return { value, parts: requests };
  }

  #partRequest(peer: number, tag: number): Request {
    const request = new Request(this.scope);
    request.context = this.scope.context + PARTS;
    request.peer = peer;
    request.tag = tag;
    return request;
  }
}

function copyOf(buffer: MessageBuffer): Uint8Array {
  if (buffer instanceof Selection) return buffer.pack();
  if (ArrayBuffer.isView(buffer)) {
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).slice();
  }
  return new Uint8Array(buffer).slice();
}
