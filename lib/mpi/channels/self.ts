/** Messages that a rank sends to itself: one copy, or two if the receive is not there yet. */
import type { Incoming } from '../incoming.js';
import type { UnexpectedMessage } from '../matching.js';
import type { Memory } from '../memory.js';
import { type Request, SYNCHRONOUS } from '../request.js';
import { LOCAL_MESSAGES, type TrafficCounters, TrafficCounts } from '../traffic.js';
import type { Explanation, Peer } from './channel.js';
import { UNEXPECTED_OVERHEAD_BYTES } from './unexpected-limit.js';

/** A send whose bytes are taken from the sender's own memory once a receive meets it. */
interface Held {
  readonly request: Request;
  readonly message: UnexpectedMessage;
}

export class SelfPeer implements Peer {
  readonly #rank: number;
  readonly #incoming: Incoming;
  readonly #eagerBytes: number;
  readonly #unexpectedBytes: number;
  readonly #held = new Map<number, Held>();
  readonly #counts = new TrafficCounts();
  #lastId = 0;
  /** Of messages that were copied since no receive was there. */
  #keptBytes = 0;

  /** @param unexpectedBytes how much may be copied for receives that are yet to come. */
  constructor(rank: number, incoming: Incoming, eagerBytes: number, unexpectedBytes: number) {
    this.#rank = rank;
    this.#incoming = incoming;
    this.#eagerBytes = eagerBytes;
    this.#unexpectedBytes = unexpectedBytes;
  }

  trySend(context: number, tag: number, memory: Memory): boolean {
    const { byteLength } = memory;
    const request = this.#incoming.match(context, this.#rank, tag);
    if (request !== undefined) {
      this.#give(request, tag, memory);
      return true;
    }
    if (byteLength > this.#eagerBytes || this.#keptBytes > this.#unexpectedBytes) return false;
    const payload = memory.bytes.slice();
    this.#keptBytes += byteLength + UNEXPECTED_OVERHEAD_BYTES;
    this.#counts.addUnexpected();
    this.#incoming.keep(context, this.#rank, tag, byteLength, this, payload, 0, 0, 0);
    return true;
  }

  send(request: Request): void {
    const { context, tag, memory } = request;
    const isGone =
      request.mode === SYNCHRONOUS
        ? this.#trySynchronous(context, tag, memory)
        : this.trySend(context, tag, memory);
    if (isGone) {
      request.complete();
      return;
    }
    this.#lastId = this.#lastId === 0x7fffffff ? 1 : this.#lastId + 1;
    const id = this.#lastId;
    request.id = id;
    this.#counts.addUnexpected();
    const { byteLength } = memory;
    // A probe that waits may have it met at once.
    const message = this.#incoming.keep(
      context,
      this.#rank,
      tag,
      byteLength,
      this,
      undefined,
      id,
      0,
      0,
    );
    this.#held.set(id, { request, message });
  }

  withdraw(request: Request): boolean {
    const held = this.#held.get(request.id);
    if (held?.request !== request || held.message.queue === undefined) return false;
    this.#incoming.unexpected.remove(held.message);
    this.#held.delete(request.id);
    return true;
  }

  deliver(message: UnexpectedMessage, request: Request): void {
    const { tag, byteLength, payload } = message;
    const send = this.#held.get(message.sendId)?.request;
    this.#held.delete(message.sendId);
    if (payload !== undefined) {
      this.#keptBytes -= byteLength + UNEXPECTED_OVERHEAD_BYTES;
      this.#count(byteLength);
      if (this.#incoming.accept(request, this.#rank, tag, byteLength)) {
        this.#incoming.fill(request, payload);
      }
    } else if (send !== undefined && !send.memory.isWhole) {
      const error = this.#incoming.shrunk(send);
      send.fail(error);
      request.fail(error);
    } else if (send !== undefined) {
      this.#give(request, tag, send.memory);
      send.complete();
    }
  }

  fail(): void {
    // A rank does not outlive itself.
  }

  pending(): Request[] {
    return [...this.#held.values()].map(({ request }) => request);
  }

  explain(): Explanation {
    return {
      channel: 'self',
      protocol: 'local',
      reason: `rank ${this.#rank} is this process: one copy, from buffer to buffer, or two if the receive comes later`,
    };
  }

  counters(): TrafficCounters {
    return this.#counts.read();
  }

  #trySynchronous(context: number, tag: number, memory: Memory): boolean {
    const receive = this.#incoming.match(context, this.#rank, tag);
    if (receive !== undefined) this.#give(receive, tag, memory);
    return receive !== undefined;
  }

  #give(request: Request, tag: number, memory: Memory): void {
    this.#count(memory.byteLength);
    if (!this.#incoming.accept(request, this.#rank, tag, memory.byteLength)) return;
    request.memory.bytes.set(memory.bytes);
    request.complete();
  }

  #count(bytes: number): void {
    this.#counts.addSent(LOCAL_MESSAGES, bytes);
    this.#counts.addReceived(LOCAL_MESSAGES, bytes);
  }
}
