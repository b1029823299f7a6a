/**
 * Queues in the order of time, found by (context, source, tag) in a hash table: what matching costs does not grow with
 * what waits.
 *
 * A queue that has become empty stays for the next item of its key; empty ones are swept when the table would grow.
 */

/** What can stand in one queue of a table. */
export interface Queued<T> {
  next: T | undefined;
  previous: T | undefined;
  queue: Queue<T> | undefined;
}

/** Items of one key, the oldest first. */
export class Queue<T> {
  first: T | undefined = undefined;
  last: T | undefined = undefined;
  /** The next queue of the same bucket. */
  link: Queue<T> | undefined = undefined;

  constructor(
    readonly context: number,
    readonly source: number,
    readonly tag: number,
    readonly hash: number,
  ) {}
}

const FIRST_BUCKETS = 16;

function hashOf(context: number, source: number, tag: number): number {
  let hash =
    Math.imul(tag, 0x9e3779b1) ^ Math.imul(source, 0x85ebca6b) ^ Math.imul(context, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

export class QueueTable<T extends Queued<T>> {
  #buckets = new Array<Queue<T> | undefined>(FIRST_BUCKETS).fill(undefined);
  #mask = FIRST_BUCKETS - 1;
  #queues = 0;
  /** Found last, and probably next. */
  #recent: Queue<T> | undefined = undefined;
  /** Items in all queues. */
  length = 0;

  /** The oldest item of a key. */
  first(context: number, source: number, tag: number): T | undefined {
    return this.#find(context, source, tag)?.first;
  }

  append(context: number, source: number, tag: number, item: T): void {
    const queue = this.#find(context, source, tag) ?? this.#add(context, source, tag);
    const { last } = queue;
    item.queue = queue;
    item.next = undefined;
    item.previous = last;
    if (last === undefined) queue.first = item;
    else last.next = item;
    queue.last = item;
    this.length++;
  }

  remove(item: T): void {
    const queue = item.queue!;
    const { next, previous } = item;
    if (previous === undefined) queue.first = next;
    else previous.next = next;
    if (next === undefined) queue.last = previous;
    else next.previous = previous;
    item.next = undefined;
    item.previous = undefined;
    item.queue = undefined;
    this.length--;
  }

  /** All items, those of one key in order. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (const bucket of this.#buckets) {
      for (let queue = bucket; queue !== undefined; queue = queue.link) {
        for (let item = queue.first; item !== undefined; item = item.next) yield item;
      }
    }
  }

  #find(context: number, source: number, tag: number): Queue<T> | undefined {
    const recent = this.#recent;
    if (
      recent !== undefined &&
      recent.tag === tag &&
      recent.source === source &&
      recent.context === context
    ) {
      return recent;
    }
    let queue = this.#buckets[hashOf(context, source, tag) & this.#mask];
    while (queue !== undefined) {
      if (queue.tag === tag && queue.source === source && queue.context === context) {
        this.#recent = queue;
        return queue;
      }
      queue = queue.link;
    }
    return undefined;
  }

  #add(context: number, source: number, tag: number): Queue<T> {
    if (this.#queues === this.#buckets.length) this.#sweep();
    const queue = new Queue<T>(context, source, tag, hashOf(context, source, tag));
    this.#place(queue);
    this.#recent = queue;
    return queue;
  }

  #place(queue: Queue<T>): void {
    const bucket = queue.hash & this.#mask;
    queue.link = this.#buckets[bucket];
    this.#buckets[bucket] = queue;
    this.#queues++;
  }

  /** Drops empty queues, and doubles the table if too many are left. */
  #sweep(): void {
    const kept: Queue<T>[] = [];
    for (const bucket of this.#buckets) {
      for (let queue = bucket; queue !== undefined; queue = queue.link) {
        if (queue.first !== undefined) kept.push(queue);
      }
    }
    let size = this.#buckets.length;
    while (kept.length * 2 > size) size *= 2;
    this.#buckets = new Array<Queue<T> | undefined>(size).fill(undefined);
    this.#mask = size - 1;
    this.#queues = 0;
    this.#recent = undefined;
    for (const queue of kept) this.#place(queue);
  }
}
