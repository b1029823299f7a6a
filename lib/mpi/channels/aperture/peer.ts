/**
 * The protocol between two ranks of one aperture.
 *
 * A short message travels whole (eager). A longer one is announced; its receiver, once matched, copies it straight
 * from the sender's memory and says so (single copy, within one kernel), or asks for it and gets it in fragments
 * through the payload ring, which both copy at the same time (pipelined, between virtual machines).
 */
import { MpiError } from '../../errors.js';
import type { Incoming } from '../../incoming.js';
import type { UnexpectedMessage } from '../../matching.js';
import type { Memory } from '../../memory.js';
import type { Request } from '../../request.js';
import type { Peer } from '../channel.js';
import type { Consumer } from './consumer.js';
import { INLINE, INLINE_BYTES, KIND, SIZE_LOW, TAG } from './layout.js';
import { getLong, type Producer, SKIP } from './producer.js';

/** A message in its cell. */
const EAGER = 1;
/** A message in slots. */
const EAGER_LONG = 6;
/** A message of this size waits at its sender; says where it stands there. */
const ANNOUNCE = 2;
/** The receiver has copied the message itself. */
const TAKEN = 3;
/** The receiver wants the message in fragments. */
const WANTED = 4;
const FRAGMENT = 5;

/** The doors to the other process that this one has besides the aperture. */
export interface Reach {
  /** Wakes the peer if it sleeps; called after each cell that was published. */
  wake(): void;
  /** Address of a memory for the peer's `read`; 0 when the peer could not read it. */
  addressOf(memory: Memory): number;
  /** Copies from the peer's memory; false when it can't be done this way. */
  read(address: number, memory: Memory, length: number): boolean;
}

/** Largest message that is sent whole, and length of fragments; at most `longestPayload` of the queue. */
export interface Thresholds {
  readonly eagerBytes: number;
  readonly fragmentBytes: number;
}

interface Reply {
  readonly kind: number;
  readonly id: number;
  readonly argument: number;
}

export class AperturePeer implements Peer {
  readonly rank: number;
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  readonly #words: Int32Array;
  readonly #incoming: Incoming;
  readonly #reach: Reach;
  readonly #eagerBytes: number;
  readonly #fragmentBytes: number;

  /** Sends in order that the queue had no room for. */
  readonly #waiting: Request[] = [];
  /** Replies that it had no room for; they go first, since the peer waits for them. */
  readonly #replies: Reply[] = [];
  /** Sends that go out in fragments, one after the other. */
  readonly #streaming: { request: Request; receiveId: number }[] = [];
  /** Announced sends by their id. */
  readonly #announced = new Map<number, Request>();
  /** Receives that fragments come in for, by their id. */
  readonly #receiving = new Map<number, Request>();
  #lastId = 0;

  constructor(
    rank: number,
    producer: Producer,
    consumer: Consumer,
    words: Int32Array,
    incoming: Incoming,
    reach: Reach,
    thresholds: Thresholds,
  ) {
    this.rank = rank;
    this.#producer = producer;
    this.#consumer = consumer;
    this.#words = words;
    this.#incoming = incoming;
    this.#reach = reach;
    this.#eagerBytes = thresholds.eagerBytes;
    this.#fragmentBytes = thresholds.fragmentBytes;
  }

  trySend(context: number, tag: number, memory: Memory): boolean {
    if (this.isStalled) return false;
    if (memory.byteLength <= INLINE_BYTES) {
      if (!this.#producer.tryShort(EAGER, context, tag, memory)) return false;
      this.#reach.wake();
      return true;
    }
    return memory.byteLength <= this.#eagerBytes && this.#tryLong(context, tag, memory);
  }

  #tryLong(context: number, tag: number, memory: Memory): boolean {
    if (!this.#producer.tryLong(EAGER_LONG, context, tag, memory)) return false;
    this.#reach.wake();
    return true;
  }

  send(request: Request): void {
    if (this.#waiting.length > 0 || !this.#begin(request)) {
      this.#waiting.push(request);
      this.isStalled = true;
    }
  }

  withdraw(request: Request): boolean {
    const index = this.#waiting.indexOf(request);
    if (index < 0) return false;
    this.#waiting.splice(index, 1);
    return true;
  }

  /** True while something may wait for room in the queue; a field, since each poll looks at it. */
  isStalled = false;

  /** Sends on what waited for room; true if anything went. */
  push(): boolean {
    const moved = this.#pushInOrder();
    this.isStalled =
      this.#waiting.length > 0 || this.#replies.length > 0 || this.#streaming.length > 0;
    return moved;
  }

  #pushInOrder(): boolean {
    let moved = false;
    while (this.#replies.length > 0) {
      const { kind, id, argument } = this.#replies[0];
      if (!this.#producer.tryReply(kind, id, argument)) return moved;
      this.#replies.shift();
      this.#reach.wake();
      moved = true;
    }
    while (this.#waiting.length > 0 && this.#begin(this.#waiting[0])) {
      this.#waiting.shift();
      moved = true;
    }
    while (this.#streaming.length > 0) {
      const { request, receiveId } = this.#streaming[0];
      if (!this.#sendFragment(request, receiveId)) return moved;
      moved = true;
      if (request.progressed === request.byteLength) {
        this.#streaming.shift();
        request.complete();
      }
    }
    return moved;
  }

  /** Handles the next message from this peer, if there is one. */
  poll(): boolean {
    const cell = this.#consumer.peek();
    if (cell < 0) return false;
    const word = this.#words[cell + KIND];
    let isWaitedFor: boolean;
    if ((word & 0xff) === EAGER) {
      this.#receiveShort(cell, word >>> 8);
      isWaitedFor = this.#consumer.releaseShort();
    } else {
      isWaitedFor = this.#handle(cell, word & 0xff, word >>> 8);
    }
    if (isWaitedFor) this.#reach.wake();
    return true;
  }

  /** Handles a cell of another kind than the shortest messages; true if the sender waits for its room. */
  #handle(cell: number, kind: number, context: number): boolean {
    switch (kind) {
      case SKIP:
        return this.#consumer.skip();
      case EAGER_LONG:
        return this.#consumer.releaseLong(this.#receiveLong(cell, context));
      case FRAGMENT:
        return this.#consumer.releaseLong(this.#receiveFragment(cell));
      case ANNOUNCE:
        this.#receiveAnnouncement(cell, context);
        break;
      case TAKEN:
        this.#finishTaken(cell);
        break;
      case WANTED:
        this.#beginStream(cell);
        break;
      default:
        throw this.#garbled(`a cell of kind ${kind}`);
    }
    return this.#consumer.releaseShort();
  }

  deliver(message: UnexpectedMessage, request: Request): void {
    if (message.payload !== undefined) {
      if (!this.#incoming.accept(request, this.rank, message.tag, message.byteLength)) return;
      request.memory.bytes.set(message.payload);
      request.complete();
    } else {
      this.#fetch(request, message.tag, message.byteLength, message.sendId, message.address);
    }
  }

  fail(error: (request: Request) => Error): void {
    const lost = [
      ...this.#waiting,
      ...this.#streaming.map(({ request }) => request),
      ...this.#announced.values(),
      ...this.#receiving.values(),
    ];
    this.#waiting.length = 0;
    this.#streaming.length = 0;
    this.#replies.length = 0;
    this.#announced.clear();
    this.#receiving.clear();
    for (const request of lost) request.fail(error(request));
  }

  #begin(request: Request): boolean {
    const { context, tag, memory } = request;
    if (!memory.isWhole) {
      request.fail(this.#incoming.shrunk(request));
      return true;
    }
    if (memory.byteLength <= this.#eagerBytes) {
      const isShort = memory.byteLength <= INLINE_BYTES;
      const isPlaced = isShort
        ? this.#producer.tryShort(EAGER, context, tag, memory)
        : this.#producer.tryLong(EAGER_LONG, context, tag, memory);
      if (!isPlaced) return false;
      this.#reach.wake();
      request.complete();
      return true;
    }
    const id = this.#newId();
    const address = this.#reach.addressOf(memory);
    const { byteLength } = memory;
    if (!this.#producer.tryAnnouncement(ANNOUNCE, context, tag, byteLength, id, address)) {
      return false;
    }
    request.byteLength = byteLength;
    this.#announced.set(id, request);
    this.#reach.wake();
    return true;
  }

  #sendFragment(request: Request, receiveId: number): boolean {
    const { memory, progressed } = request;
    if (!memory.isWhole) {
      // The receiver was promised these bytes, and nothing can make up for them.
      throw this.#incoming.shrunk(request);
    }
    const left = request.byteLength - progressed;
    const length = left < this.#fragmentBytes ? left : this.#fragmentBytes;
    if (!this.#producer.tryFragment(FRAGMENT, receiveId, memory, progressed, length)) return false;
    this.#reach.wake();
    request.progressed += length;
    return true;
  }

  #receiveShort(cell: number, context: number): void {
    const tag = this.#words[cell + TAG];
    // Of a sender that lies no more than the cell is believed.
    const byteLength = this.#words[cell + SIZE_LOW] & 0x3f;
    const request = this.#incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#keepWhole(cell, context, tag, byteLength);
    } else if (this.#incoming.accept(request, this.rank, tag, byteLength)) {
      this.#consumer.takeShort(cell, byteLength, request.memory);
      request.complete();
    }
  }

  /** Returns the bytes of payload that the cell had, as does receiveFragment. */
  #receiveLong(cell: number, context: number): number {
    const tag = this.#words[cell + TAG];
    const byteLength = this.#words[cell + SIZE_LOW];
    if (byteLength <= INLINE_BYTES || byteLength > this.#eagerBytes) {
      throw this.#garbled(`a whole message of ${byteLength} bytes`);
    }
    const request = this.#incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#keepWhole(cell, context, tag, byteLength);
    } else if (this.#incoming.accept(request, this.rank, tag, byteLength)) {
      this.#consumer.takePayload(cell, byteLength, request.memory, 0);
      request.complete();
    }
    return byteLength;
  }

  #keepWhole(cell: number, context: number, tag: number, byteLength: number): void {
    const payload = this.#consumer.takeCopy(cell, byteLength);
    this.#incoming.keep(context, this.rank, tag, byteLength, this, payload, 0, 0);
  }

  #receiveAnnouncement(cell: number, context: number): void {
    const words = this.#words;
    const tag = words[cell + TAG];
    const byteLength = getLong(words, cell + SIZE_LOW);
    const sendId = words[cell + INLINE];
    const address = getLong(words, cell + INLINE + 1);
    const request = this.#incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#incoming.keep(context, this.rank, tag, byteLength, this, undefined, sendId, address);
    } else {
      this.#fetch(request, tag, byteLength, sendId, address);
    }
  }

  /** Brings a matched message over: by a copy of our own, or by asking for it. */
  #fetch(request: Request, tag: number, byteLength: number, sendId: number, address: number): void {
    if (!this.#incoming.accept(request, this.rank, tag, byteLength)) {
      // The sender's part is done: a truncated receive is the receiver's error alone.
      this.#reply(TAKEN, sendId, 0);
      return;
    }
    if (address !== 0 && this.#reach.read(address, request.memory, byteLength)) {
      this.#reply(TAKEN, sendId, 0);
      request.complete();
      return;
    }
    const id = this.#newId();
    this.#receiving.set(id, request);
    this.#reply(WANTED, sendId, id);
  }

  #finishTaken(cell: number): void {
    const id = this.#words[cell + TAG];
    const request = this.#announced.get(id);
    if (request === undefined) throw this.#garbled(`an answer to send ${id}`);
    this.#announced.delete(id);
    request.complete();
  }

  #beginStream(cell: number): void {
    const id = this.#words[cell + TAG];
    const request = this.#announced.get(id);
    if (request === undefined) throw this.#garbled(`a demand for send ${id}`);
    this.#announced.delete(id);
    this.#streaming.push({ request, receiveId: this.#words[cell + INLINE] });
    this.push();
  }

  #receiveFragment(cell: number): number {
    const words = this.#words;
    const id = words[cell + TAG];
    const offset = getLong(words, cell + SIZE_LOW);
    const length = words[cell + INLINE];
    const request = this.#receiving.get(id);
    if (
      request === undefined ||
      length <= 0 ||
      offset !== request.progressed ||
      offset + length > request.byteLength
    ) {
      throw this.#garbled(`a fragment of ${length} bytes at ${offset} for receive ${id}`);
    }
    // Without its memory it goes on to the end of the message, since the sender knows nothing of that.
    if (request.memory.isWhole) {
      this.#consumer.takePayload(cell, length, request.memory, offset);
    }
    request.progressed = offset + length;
    if (request.progressed === request.byteLength) {
      this.#receiving.delete(id);
      if (request.memory.isWhole) request.complete();
      else request.fail(this.#incoming.shrunk(request));
    }
    return length;
  }

  #reply(kind: number, id: number, argument: number): void {
    if (this.#replies.length === 0 && this.#producer.tryReply(kind, id, argument)) {
      this.#reach.wake();
    } else {
      this.#replies.push({ kind, id, argument });
      this.isStalled = true;
    }
  }

  #newId(): number {
    this.#lastId = this.#lastId === 0x7fffffff ? 1 : this.#lastId + 1;
    return this.#lastId;
  }

  #garbled(what: string): MpiError {
    return new MpiError(
      'ERR_MPI_LAYOUT',
      `rank ${this.rank} sent ${what}, which is no message of this version of viaduct; ` +
        'start all ranks with the same version, and let no other program write to their aperture',
      { operands: { rank: this.rank } },
    );
  }
}
