/**
 * Which message meets which receive: the rules of MPI 4.1, section 3.5, and nothing else.
 *
 * Messages of one sender are matched in the order in which they were sent, receives in the order in which they
 * were posted; a receive that names its source and one that does not are ordered by when they were posted. Sources
 * are ranks of the world.
 */
import { ANY_SOURCE, ANY_TAG } from './constants.js';
import { type Queue, type Queued, QueueTable } from './queue-table.js';
import type { Request } from './request.js';

/** Which of source and tag a receive leaves open, as an index. */
function openness(source: number, tag: number): number {
  return (source === ANY_SOURCE ? 1 : 0) + (tag === ANY_TAG ? 2 : 0);
}

const OPENNESSES = 4;
const EXACT = 0;

/** Receives that wait for a message. */
export class PostedReceives {
  readonly #table = new QueueTable<Request>();
  /** How many in the table leave what open: what nobody leaves open need not be looked for. */
  readonly #counts = new Int32Array(OPENNESSES);
  /** The only receive that waits, when there is but one: what blocking programs live from, without the table. */
  #only: Request | undefined = undefined;
  #clock = 0;

  post(request: Request): void {
    if (this.#table.length === 0) {
      if (this.#only === undefined) {
        this.#only = request;
        return;
      }
      this.#append(this.#only);
      this.#only = undefined;
    }
    this.#append(request);
  }

  remove(request: Request): void {
    if (request === this.#only) {
      this.#only = undefined;
      return;
    }
    this.#table.remove(request);
    this.#counts[openness(request.peer, request.tag)]--;
  }

  /** Takes the receive that a message of this envelope meets. */
  match(context: number, source: number, tag: number): Request | undefined {
    const only = this.#only;
    if (only !== undefined) {
      if (
        only.context !== context ||
        (only.tag !== tag && only.tag !== ANY_TAG) ||
        (only.peer !== source && only.peer !== ANY_SOURCE)
      ) {
        return undefined;
      }
      this.#only = undefined;
      return only;
    }
    return this.#table.length === 0 ? undefined : this.#matchInTable(context, source, tag);
  }

  *[Symbol.iterator](): Generator<Request, void, undefined> {
    if (this.#only !== undefined) yield this.#only;
    yield* this.#table;
  }

  #matchInTable(context: number, source: number, tag: number): Request | undefined {
    const counts = this.#counts;
    let found = counts[EXACT] === 0 ? undefined : this.#table.first(context, source, tag);
    for (let open = 1; open < OPENNESSES; open++) {
      if (counts[open] === 0) continue;
      const other = this.#table.first(
        context,
        (open & 1) !== 0 ? ANY_SOURCE : source,
        (open & 2) !== 0 ? ANY_TAG : tag,
      );
      if (other !== undefined && (found === undefined || other.order < found.order)) found = other;
    }
    if (found !== undefined) this.remove(found);
    return found;
  }

  #append(request: Request): void {
    const { context, peer, tag } = request;
    request.order = this.#clock++;
    this.#table.append(context, peer, tag, request);
    this.#counts[openness(peer, tag)]++;
  }
}

/** The channel that a message came by, which knows where its bytes are. */
export interface Delivery {
  /** Hands the bytes of a message that came too early to the receive that meets it at last. */
  deliver(message: UnexpectedMessage, request: Request): void;
}

/** A message that came before its receive. */
export class UnexpectedMessage implements Queued<UnexpectedMessage> {
  next: UnexpectedMessage | undefined = undefined;
  previous: UnexpectedMessage | undefined = undefined;
  queue: Queue<UnexpectedMessage> | undefined = undefined;
  order = 0;
  /** Its places among messages that receives with wildcards may meet. */
  links: Link[] | undefined = undefined;

  constructor(
    readonly context: number,
    readonly source: number,
    readonly tag: number,
    readonly byteLength: number,
    readonly delivery: Delivery,
    /** The bytes, if they came with the envelope. */
    readonly payload: Uint8Array | undefined,
    /** The sender's name for a message whose bytes it still holds, or that it wants to hear of; 0 for none. */
    readonly sendId: number,
    /** Where they stand in the sender's memory. */
    readonly address: number,
    /** What opens it for those who have no other right to read it. */
    readonly key: number,
  ) {}
}

/** A message's place in the queue of a key with wildcards. */
class Link implements Queued<Link> {
  next: Link | undefined = undefined;
  previous: Link | undefined = undefined;
  queue: Queue<Link> | undefined = undefined;

  constructor(readonly message: UnexpectedMessage) {}
}

export class UnexpectedMessages {
  readonly #exact = new QueueTable<UnexpectedMessage>();
  /** The same messages under keys with wildcards, of the kinds that were ever asked for. */
  readonly #open = new QueueTable<Link>();
  #kinds: number[] = [];
  #clock = 0;

  get length(): number {
    return this.#exact.length;
  }

  add(message: UnexpectedMessage): void {
    message.order = this.#clock++;
    this.#exact.append(message.context, message.source, message.tag, message);
    for (const open of this.#kinds) this.#link(message, open);
  }

  /** The message that a receive of this envelope would meet; source and tag may be wildcards. */
  find(context: number, source: number, tag: number): UnexpectedMessage | undefined {
    if (this.#exact.length === 0) return undefined;
    const open = openness(source, tag);
    if (open === EXACT) return this.#exact.first(context, source, tag);
    if (!this.#kinds.includes(open)) this.#begin(open);
    return this.#open.first(context, source, tag)?.message;
  }

  remove(message: UnexpectedMessage): void {
    this.#exact.remove(message);
    if (message.links === undefined) return;
    for (const link of message.links) this.#open.remove(link);
  }

  [Symbol.iterator](): Generator<UnexpectedMessage, void, undefined> {
    return this.#exact[Symbol.iterator]();
  }

  /** From now on keeps messages under keys of this kind too. */
  #begin(open: number): void {
    this.#kinds = [...this.#kinds, open];
    const all = [...this.#exact].sort((a, b) => a.order - b.order);
    for (const message of all) this.#link(message, open);
  }

  #link(message: UnexpectedMessage, open: number): void {
    const link = new Link(message);
    message.links ??= [];
    message.links.push(link);
    this.#open.append(
      message.context,
      (open & 1) !== 0 ? ANY_SOURCE : message.source,
      (open & 2) !== 0 ? ANY_TAG : message.tag,
      link,
    );
  }
}
