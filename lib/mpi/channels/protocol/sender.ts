/** The sending half of the protocol between two ranks: what is on its way to the peer. */
import { MpiError } from '../../errors.js';
import type { Incoming } from '../../incoming.js';
import type { Memory } from '../../memory.js';
import { type Request, SYNCHRONOUS } from '../../request.js';
import {
  EAGER_MESSAGES,
  FRAGMENTED_MESSAGES,
  INLINE_MESSAGES,
  type TrafficCounters,
  TrafficCounts,
} from '../../traffic.js';
import type { Explanation } from '../channel.js';
import { INLINE, INLINE_BYTES, TAG } from './cell.js';
import type { Outlet } from './ends.js';

/** A message in its cell. */
export const EAGER = 1;
/** A message beside its cell. */
export const EAGER_LONG = 6;
/** A message of this size waits at its sender; says where it stands there. */
export const ANNOUNCE = 2;
/** The receiver has the message, which it has taken itself. */
export const TAKEN = 3;
/** The receiver wants the message in fragments. */
export const WANTED = 4;
export const FRAGMENT = 5;
/** A message beside its cell whose sender wants to hear when a receive meets it. */
export const EAGER_SYNCHRONOUS = 7;
/** The sender takes an announced message back, if no receive has met it. */
export const REVOKE = 8;
/** None had. */
export const REVOKED = 9;
/** The sender cannot go on with a message: its memory is gone. */
export const ABANDONED = 10;

/** Wakes the peer if it sleeps; called after each cell that was published. */
export interface Waker {
  wake(): void;
}

/** Largest message that is sent whole, and length of fragments; at most what the queue has room for. */
export interface Thresholds {
  readonly eagerBytes: number;
  readonly fragmentBytes: number;
  /** What messages of one peer may take that come before their receives. */
  readonly unexpectedBytes: number;
}

interface Reply {
  readonly kind: number;
  readonly id: number;
  readonly argument: number;
  readonly address: number;
  readonly key: number;
}

export abstract class ProtocolSender {
  readonly rank: number;
  /** Of the memory that the peer's cells are in. */
  protected words: Int32Array;
  protected readonly incoming: Incoming;
  protected readonly waker: Waker;
  protected readonly counts = new TrafficCounts();
  protected readonly eagerBytes: number;
  protected readonly fragmentBytes: number;
  /** What counts the messages that receivers take themselves. */
  protected abstract readonly takenProtocol: number;
  /** The key that belongs to the address which `expose` has returned. */
  protected exposedKey = 0;
  readonly #outlet: Outlet;
  readonly #shortBytes: number;

  /** Sends in order that the queue had no room for. */
  readonly #waiting: Request[] = [];
  /** Replies that it had no room for; they go first, since the peer waits for them. */
  readonly #replies: Reply[] = [];
  /** Sends that go out in fragments, one after the other. */
  readonly #streaming: { request: Request; receiveId: number }[] = [];
  /** Announced sends by their id. */
  readonly #announced = new Map<number, Request>();
  #lastId = 0;
  /** The receiver keeps as much as it may of what came before its receives. */
  #isCongested = false;
  /** What becomes of all that is begun with a peer that is gone. */
  protected failure: ((request: Request) => Error) | undefined = undefined;
  /** Nothing keeps a short message from going; one field for all that might. */
  #isClear = true;
  /** True while something may wait for room in the queue; a field, since each poll looks at it. */
  isStalled = false;
  /** Called when something has to wait for room: `push` is then to be called. */
  onStall: () => void = () => undefined;

  constructor(
    rank: number,
    outlet: Outlet,
    words: Int32Array,
    incoming: Incoming,
    waker: Waker,
    thresholds: Thresholds,
  ) {
    this.rank = rank;
    this.#outlet = outlet;
    this.words = words;
    this.incoming = incoming;
    this.waker = waker;
    this.eagerBytes = thresholds.eagerBytes;
    this.fragmentBytes = thresholds.fragmentBytes;
    this.#shortBytes = Math.min(INLINE_BYTES, this.eagerBytes);
    outlet.onCongestion = () => {
      this.#isCongested = true;
      this.#isClear = false;
    };
  }

  trySend(context: number, tag: number, memory: Memory): boolean {
    if (!this.#isClear) return false;
    const { byteLength } = memory;
    if (byteLength <= this.#shortBytes) {
      if (!this.#outlet.tryShort(EAGER, context, tag, memory)) return false;
      this.counts.addSent(INLINE_MESSAGES, byteLength);
      this.waker.wake();
      return true;
    }
    return byteLength <= this.eagerBytes && this.#tryLong(context, tag, memory);
  }

  #tryLong(context: number, tag: number, memory: Memory): boolean {
    if (!this.#outlet.tryLong(EAGER_LONG, context, tag, memory, 0)) return false;
    this.counts.addSent(EAGER_MESSAGES, memory.byteLength);
    this.waker.wake();
    return true;
  }

  send(request: Request): void {
    if (this.failure !== undefined) {
      request.fail(this.failure(request));
      return;
    }
    if (this.#waiting.length > 0 || !this.#begin(request)) {
      this.#waiting.push(request);
      this.stall();
    }
  }

  withdraw(request: Request): boolean | undefined {
    const index = this.#waiting.indexOf(request);
    if (index >= 0) {
      this.#waiting.splice(index, 1);
      return true;
    }
    if (this.#announced.get(request.id) !== request) return false;
    this.reply(REVOKE, request.id);
    return undefined;
  }

  /** Sends on what waited for room; true if anything went. */
  push(): boolean {
    const moved = this.#pushInOrder();
    this.isStalled =
      this.#waiting.length > 0 ||
      this.#replies.length > 0 ||
      this.#streaming.length > 0 ||
      this.hasMore;
    this.#isClear = !this.isStalled && !this.#isCongested && this.failure === undefined;
    return moved;
  }

  /** Whether what a channel adds has something that waits for room. */
  protected get hasMore(): boolean {
    return false;
  }

  protected stall(): void {
    this.isStalled = true;
    this.#isClear = false;
    this.onStall();
  }

  pending(): Request[] {
    return [
      ...this.#waiting,
      ...this.#streaming.map(({ request }) => request),
      ...this.#announced.values(),
    ];
  }

  /**
   * Lets the peer read the memory of a send, until `conceal`; returns its address, with `exposedKey`, or 0 when the peer can't.
   */
  protected abstract expose(request: Request): number;
  /** The send is not announced any more. */
  protected abstract conceal(request: Request): void;
  /** How a message would go that is announced, for this reason. */
  protected abstract explainAnnounced(byteLength: number, why: string): Explanation;
  protected abstract explainWhole(protocol: 'inline' | 'eager', reason: string): Explanation;

  explain(byteLength: number): Explanation {
    if (this.#outlet.isCongested) {
      return this.explainAnnounced(
        byteLength,
        `rank ${this.rank} keeps as much as it may of what came before its receives, so it asks for each message`,
      );
    }
    if (byteLength <= this.#shortBytes) {
      return this.explainWhole('inline', `at most ${this.#shortBytes} bytes: within one cell`);
    }
    return byteLength <= this.eagerBytes
      ? this.explainWhole('eager', `at most ${this.eagerBytes} bytes: sent whole`)
      : this.explainAnnounced(
          byteLength,
          `more than ${this.eagerBytes} bytes: its receiver asks for it`,
        );
  }

  counters(): TrafficCounters {
    return this.counts.read();
  }

  fail(error: (request: Request) => Error): void {
    this.failure = error;
    this.#isClear = false;
    this.isStalled = false;
    const lost = this.pending();
    this.#waiting.length = 0;
    this.#streaming.length = 0;
    this.#replies.length = 0;
    this.#announced.clear();
    for (const request of lost) {
      this.conceal(request);
      request.fail(error(request));
    }
  }

  protected finishTaken(cell: number): void {
    const request = this.takeAnnounced(this.words[cell + TAG], 'an answer to');
    this.conceal(request);
    const { byteLength } = request;
    if (request.mode !== SYNCHRONOUS || byteLength > this.eagerBytes) {
      this.counts.addSent(this.takenProtocol, byteLength);
    }
    request.complete();
  }

  protected beginStream(cell: number): void {
    const request = this.takeAnnounced(this.words[cell + TAG], 'a demand for');
    this.conceal(request);
    this.streamTo(request, this.words[cell + INLINE]);
  }

  /** Sends a message in fragments to a receive. */
  protected streamTo(request: Request, receiveId: number): void {
    this.#streaming.push({ request, receiveId });
    this.stall();
    this.push();
  }

  protected finishRevoked(id: number): void {
    const request = this.takeAnnounced(id, 'an answer to');
    if (request.withdrawal === undefined) throw this.garbled(`an answer to send ${id}`);
    this.conceal(request);
    request.fail(request.withdrawal);
  }

  /** The announced send that the peer speaks of, which is not announced any more. */
  protected takeAnnounced(id: number, what: string): Request {
    const request = this.#announced.get(id);
    if (request === undefined) throw this.garbled(`${what} send ${id}`);
    this.#announced.delete(id);
    return request;
  }

  protected reply(kind: number, id: number, argument = 0, address = 0, key = 0): void {
    if (this.failure !== undefined) return;
    if (this.#replies.length === 0 && this.#outlet.tryReply(kind, id, argument, address, key)) {
      this.waker.wake();
    } else {
      this.#replies.push({ kind, id, argument, address, key });
      this.stall();
    }
  }

  protected newId(): number {
    this.#lastId = this.#lastId === 0x7fffffff ? 1 : this.#lastId + 1;
    return this.#lastId;
  }

  protected garbled(what: string): MpiError {
    return new MpiError(
      'ERR_MPI_LAYOUT',
      `rank ${this.rank} sent ${what}, which is no message of this version of viaduct; ` +
        'start all ranks with the same version, and let no other program write to their memory',
      { operands: { rank: this.rank } },
    );
  }

  #pushInOrder(): boolean {
    let moved = false;
    while (this.#replies.length > 0) {
      const { kind, id, argument, address, key } = this.#replies[0];
      if (!this.#outlet.tryReply(kind, id, argument, address, key)) return moved;
      this.#replies.shift();
      this.waker.wake();
      moved = true;
    }
    while (this.#waiting.length > 0 && this.#begin(this.#waiting[0])) {
      this.#waiting.shift();
      moved = true;
    }
    while (this.#streaming.length > 0) {
      const { request, receiveId } = this.#streaming[0];
      if (!request.memory.isWhole) {
        this.#streaming.shift();
        this.#replies.push({ kind: ABANDONED, id: receiveId, argument: 0, address: 0, key: 0 });
        request.fail(this.incoming.shrunk(request));
        return true;
      }
      if (!this.#sendFragment(request, receiveId)) return moved;
      moved = true;
      if (request.progressed === request.byteLength) {
        this.#streaming.shift();
        this.counts.addSent(FRAGMENTED_MESSAGES, request.byteLength);
        request.complete();
      }
    }
    return moved;
  }

  #begin(request: Request): boolean {
    const { context, tag, memory } = request;
    const { byteLength } = memory;
    if (!memory.isWhole) {
      request.fail(this.incoming.shrunk(request));
      return true;
    }
    if (this.#isCongested) this.#isCongested = this.#outlet.isCongested;
    if (byteLength > this.eagerBytes || this.#isCongested) return this.#announce(request);
    if (request.mode === SYNCHRONOUS) {
      const id = this.newId();
      if (!this.#outlet.tryLong(EAGER_SYNCHRONOUS, context, tag, memory, id)) return false;
      this.counts.addSent(EAGER_MESSAGES, byteLength);
      this.#expectAnswer(request, id);
      return true;
    }
    const isShort = byteLength <= this.#shortBytes;
    const isPlaced = isShort
      ? this.#outlet.tryShort(EAGER, context, tag, memory)
      : this.#outlet.tryLong(EAGER_LONG, context, tag, memory, 0);
    if (!isPlaced) return false;
    this.counts.addSent(isShort ? INLINE_MESSAGES : EAGER_MESSAGES, byteLength);
    this.waker.wake();
    this.#isClear = !this.isStalled && !this.#isCongested;
    request.complete();
    return true;
  }

  #announce(request: Request): boolean {
    const { context, tag, memory } = request;
    const { byteLength } = memory;
    const id = this.newId();
    const address = this.expose(request);
    const key = this.exposedKey;
    if (!this.#outlet.tryAnnouncement(ANNOUNCE, context, tag, byteLength, id, address, key)) {
      this.conceal(request);
      return false;
    }
    this.#expectAnswer(request, id);
    return true;
  }

  #expectAnswer(request: Request, id: number): void {
    request.id = id;
    request.byteLength = request.memory.byteLength;
    this.#announced.set(id, request);
    this.waker.wake();
  }

  #sendFragment(request: Request, receiveId: number): boolean {
    const { memory, progressed } = request;
    const left = request.byteLength - progressed;
    const length = left < this.fragmentBytes ? left : this.fragmentBytes;
    if (!this.#outlet.tryFragment(FRAGMENT, receiveId, memory, progressed, length)) return false;
    this.waker.wake();
    request.progressed += length;
    return true;
  }
}
