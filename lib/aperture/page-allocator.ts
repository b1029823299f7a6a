/**
 * Hands out runs of pages of an aperture to processes that trust no lock: one word per page says who owns
 * it, and is taken by compare-and-exchange. A process that dies in the middle leaves pages that bear its
 * name, and `reclaim` finds them; there is nothing to repair.
 *
 * A word is 0 for a free page, else the owner in the upper 31 bits, plus 1 in bit 0 where a block begins.
 */
export class PageAllocator {
  readonly #words: Int32Array;
  readonly #first: number;

  /** @param words one word per page; the first `reserved` pages hold the tables and are never handed out. */
  constructor(words: Int32Array, reserved: number) {
    this.#words = words;
    this.#first = reserved;
  }

  /** Pages that nobody owns; a snapshot. */
  get freePages(): number {
    let free = 0;
    for (let page = this.#first; page < this.#words.length; page++) {
      if (Atomics.load(this.#words, page) === 0) free++;
    }
    return free;
  }

  /** Takes `count` pages in a row; returns the first one's number, or -1 when no run is long enough. */
  allocate(count: number, owner: number): number {
    const words = this.#words;
    let page = this.#first;
    while (page + count <= words.length) {
      const taken = this.#claim(page, count, owner);
      if (taken === -1) return page;
      page = taken + 1;
    }
    return -1;
  }

  /** Gives back the block that begins at `page`; returns its length in pages, 0 if `owner` has none there. */
  free(page: number, owner: number): number {
    const words = this.#words;
    const head = (owner << 1) | 1;
    if (page < this.#first || page >= words.length || Atomics.load(words, page) !== head) return 0;
    const count = this.length(page);
    // From the tail: until its head is given back, the block is a shorter one, never two.
    for (let k = page + count - 1; k >= page; k--) Atomics.store(words, k, 0);
    return count;
  }

  /** Length in pages of the block that begins at `page`, 0 if none does. */
  length(page: number): number {
    const words = this.#words;
    if (!Number.isInteger(page) || page < this.#first || page >= words.length) return 0;
    const head = Atomics.load(words, page);
    if ((head & 1) === 0) return 0;
    let end = page + 1;
    while (end < words.length && Atomics.load(words, end) === (head & ~1)) end++;
    return end - page;
  }

  /** Frees all pages of an owner that is gone; returns how many. */
  reclaim(owner: number): number {
    let freed = 0;
    for (let page = this.#first; page < this.#words.length; page++) {
      const word = Atomics.load(this.#words, page);
      if (word >>> 1 === owner && Atomics.compareExchange(this.#words, page, word, 0) === word) {
        freed++;
      }
    }
    return freed;
  }

  /** Takes pages one by one; returns -1, or the page that was somebody else's after giving back the rest. */
  #claim(first: number, count: number, owner: number): number {
    const words = this.#words;
    for (let k = 0; k < count; k++) {
      const mark = (owner << 1) | (k === 0 ? 1 : 0);
      if (Atomics.compareExchange(words, first + k, 0, mark) === 0) continue;
      for (let j = first + k - 1; j >= first; j--) Atomics.store(words, j, 0);
      return first + k;
    }
    return -1;
  }
}
