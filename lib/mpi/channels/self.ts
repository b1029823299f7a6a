/** Messages that a rank sends to itself: one copy, or two if the receive is not there yet. */
import type { Incoming } from '../incoming.js';
import type { UnexpectedMessage } from '../matching.js';
import type { Memory } from '../memory.js';
import type { Request } from '../request.js';
import type { Peer } from './channel.js';

export class SelfPeer implements Peer {
  readonly #rank: number;
  readonly #incoming: Incoming;
  readonly #eagerBytes: number;
  /** Sends whose bytes are taken from the sender's own memory once a receive meets them. */
  readonly #held = new Map<number, Request>();
  #lastId = 0;

  constructor(rank: number, incoming: Incoming, eagerBytes: number) {
    this.#rank = rank;
    this.#incoming = incoming;
    this.#eagerBytes = eagerBytes;
  }

  trySend(context: number, tag: number, memory: Memory): boolean {
    const { byteLength } = memory;
    const request = this.#incoming.match(context, this.#rank, tag);
    if (request !== undefined) {
      if (this.#incoming.accept(request, this.#rank, tag, byteLength)) {
        request.memory.bytes.set(memory.bytes);
        request.complete();
      }
      return true;
    }
    if (byteLength > this.#eagerBytes) return false;
    const payload = memory.bytes.slice();
    this.#incoming.keep(context, this.#rank, tag, byteLength, this, payload, 0, 0);
    return true;
  }

  send(request: Request): void {
    const { context, tag, memory } = request;
    const id = ++this.#lastId;
    this.#held.set(id, request);
    this.#incoming.keep(context, this.#rank, tag, memory.byteLength, this, undefined, id, 0);
  }

  /** Too late for any: the message can be met by the next receive. */
  withdraw(): boolean {
    return false;
  }

  deliver(message: UnexpectedMessage, request: Request): void {
    const fits = this.#incoming.accept(request, this.#rank, message.tag, message.byteLength);
    const send = this.#held.get(message.sendId);
    this.#held.delete(message.sendId);
    if (send !== undefined && !send.memory.isWhole) {
      const error = this.#incoming.shrunk(send);
      send.fail(error);
      request.fail(error);
      return;
    }
    const bytes = message.payload ?? send?.memory.bytes;
    if (fits && bytes !== undefined) {
      request.memory.bytes.set(bytes);
      request.complete();
    }
    send?.complete();
  }

  fail(): void {
    // A rank does not outlive itself.
  }
}
