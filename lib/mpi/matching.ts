/**
 * Which message meets which receive: the rules of MPI 4.1, section 3.5, and nothing else.
 *
 * Messages of one sender are matched in the order in which they were sent, receives in the order in which they
 * were posted; a receive that names its source and one that does not are ordered by when they were posted.
 */
import { ANY_SOURCE, ANY_TAG } from './constants.js';
import type { Request } from './request.js';

class Chain<T extends { next: T | undefined; previous: T | undefined }> {
  first: T | undefined = undefined;
  #last: T | undefined = undefined;

  append(item: T): void {
    item.next = undefined;
    item.previous = this.#last;
    if (this.#last === undefined) this.first = item;
    else this.#last.next = item;
    this.#last = item;
  }

  remove(item: T): void {
    if (item.previous === undefined) this.first = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.#last = item.previous;
    else item.next.previous = item.previous;
    item.next = undefined;
    item.previous = undefined;
  }
}

const chains = <T extends { next: T | undefined; previous: T | undefined }>(
  count: number,
): Chain<T>[] => Array.from({ length: count }, () => new Chain<T>());

/** Receives that wait for a message. */
export class PostedReceives {
  readonly #bySource: Chain<Request>[];
  readonly #anySource = new Chain<Request>();
  /** The only receive that waits, when there is but one: what blocking programs live from, without the chains. */
  #only: Request | undefined = undefined;
  #chained = 0;
  #clock = 0;

  constructor(ranks: number) {
    this.#bySource = chains(ranks);
  }

  post(request: Request): void {
    if (this.#chained === 0) {
      if (this.#only === undefined) {
        this.#only = request;
        return;
      }
      this.#chain(this.#only);
      this.#only = undefined;
    }
    this.#chain(request);
  }

  remove(request: Request): void {
    if (request === this.#only) {
      this.#only = undefined;
      return;
    }
    this.#chainOf(request).remove(request);
    this.#chained--;
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
    return this.#chained === 0 ? undefined : this.#matchChained(context, source, tag);
  }

  #matchChained(context: number, source: number, tag: number): Request | undefined {
    const named = firstMatch(this.#bySource[source].first, context, tag);
    const any = firstMatch(this.#anySource.first, context, tag);
    const found =
      named === undefined || (any !== undefined && any.order < named.order) ? any : named;
    if (found !== undefined) this.remove(found);
    return found;
  }

  /** All receives that can no longer be met when a rank is gone: those that name it, and those that name none. */
  takeFrom(source: number): Request[] {
    const taken: Request[] = [];
    const only = this.#only;
    if (only !== undefined && (only.peer === source || only.peer === ANY_SOURCE)) {
      this.#only = undefined;
      taken.push(only);
    }
    for (const chain of [this.#bySource[source], this.#anySource]) {
      for (let request = chain.first; request !== undefined; request = chain.first) {
        this.remove(request);
        taken.push(request);
      }
    }
    return taken;
  }

  #chain(request: Request): void {
    request.order = this.#clock++;
    this.#chainOf(request).append(request);
    this.#chained++;
  }

  #chainOf(request: Request): Chain<Request> {
    return request.peer === ANY_SOURCE ? this.#anySource : this.#bySource[request.peer];
  }
}

function firstMatch(first: Request | undefined, context: number, tag: number): Request | undefined {
  let request = first;
  while (request !== undefined) {
    if (request.context === context && (request.tag === tag || request.tag === ANY_TAG)) {
      return request;
    }
    request = request.next;
  }
  return undefined;
}

/** Hands the bytes of a message that came too early to the receive that meets it at last. */
export interface Delivery {
  deliver(message: UnexpectedMessage, request: Request): void;
}

/** A message that came before its receive. */
export class UnexpectedMessage {
  next: UnexpectedMessage | undefined = undefined;
  previous: UnexpectedMessage | undefined = undefined;
  order = 0;

  constructor(
    readonly context: number,
    readonly source: number,
    readonly tag: number,
    readonly byteLength: number,
    /** The channel that it came by, which knows where the bytes are. */
    readonly delivery: Delivery,
    /** The bytes, if they came with the envelope. */
    readonly payload: Uint8Array | undefined,
    /** The sender's name for a message whose bytes it still holds; 0 for none. */
    readonly sendId: number,
    /** Where they stand in the sender's memory. */
    readonly address: number,
  ) {}
}

export class UnexpectedMessages {
  readonly #bySource: Chain<UnexpectedMessage>[];
  #clock = 0;
  #count = 0;

  constructor(ranks: number) {
    this.#bySource = chains(ranks);
  }

  add(message: UnexpectedMessage): void {
    message.order = this.#clock++;
    this.#bySource[message.source].append(message);
    this.#count++;
  }

  /** Takes the message that a receive of this envelope meets; source and tag may be wildcards. */
  match(context: number, source: number, tag: number): UnexpectedMessage | undefined {
    if (this.#count === 0) return undefined;
    let found: UnexpectedMessage | undefined;
    if (source !== ANY_SOURCE) {
      found = this.#first(source, context, tag);
    } else {
      for (let rank = 0; rank < this.#bySource.length; rank++) {
        const candidate = this.#first(rank, context, tag);
        if (candidate !== undefined && (found === undefined || candidate.order < found.order)) {
          found = candidate;
        }
      }
    }
    if (found !== undefined) {
      this.#bySource[found.source].remove(found);
      this.#count--;
    }
    return found;
  }

  #first(source: number, context: number, tag: number): UnexpectedMessage | undefined {
    let message = this.#bySource[source].first;
    while (message !== undefined) {
      if (message.context === context && (tag === ANY_TAG || message.tag === tag)) return message;
      message = message.next;
    }
    return undefined;
  }
}
