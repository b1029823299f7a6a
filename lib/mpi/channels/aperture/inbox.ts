/**
 * Word of peers that a rank does not listen to all the time, so that what polling costs does not grow with the number of
 * silent peers.
 *
 * A rank listens to a few peers, those that it heard of lately. A sender sees in the rank's inbox whether it is one of
 * them; if not, it sets its bit among the news and counts them up, and the rank listens to it from then on. Nothing is
 * lost: the sender publishes before it looks, and who stops listening says so before it looks once more.
 *
 * | byte | |
 * | --- | --- |
 * | 0 | counts news |
 * | 64 | a bit for each rank that is listened to, written by the inbox's owner |
 * | then | a bit for each rank that has news, in a line of its own |
 */
import { loadOrdered } from '../../../aperture/ordered.js';
import { inboxBytes } from './layout.js';

const FIRST_BIT_WORD = 16;

export class Inbox {
  readonly #words: Int32Array;
  readonly #count: number;
  readonly #listened: number;
  readonly #news: number;
  readonly #newsWords: number;
  #seen = 0;

  /** @param offset of the inbox in the aperture, in bytes. */
  constructor(words: Int32Array, offset: number, ranks: number) {
    this.#words = words;
    this.#count = offset / 4;
    this.#listened = this.#count + FIRST_BIT_WORD;
    this.#news = this.#listened + (inboxBytes(ranks) / 4 - FIRST_BIT_WORD) / 2;
    this.#newsWords = Math.ceil(ranks / 32);
  }

  /** The sender's part, after it has published. */
  tell(sender: number): void {
    const words = this.#words;
    const at = sender >> 5;
    const bit = 1 << (sender & 31);
    if ((loadOrdered(words, this.#listened + at) & bit) !== 0) return;
    if ((loadOrdered(words, this.#news + at) & bit) !== 0) return;
    Atomics.or(words, this.#news + at, bit);
    Atomics.add(words, this.#count, 1);
  }

  get hasNews(): boolean {
    return loadOrdered(this.#words, this.#count) !== this.#seen;
  }

  /** Ranks that have news; each is to be listened to from now on. */
  takeNews(): number[] {
    const words = this.#words;
    this.#seen = Atomics.load(words, this.#count);
    const ranks: number[] = [];
    for (let at = 0; at < this.#newsWords; at++) {
      let bits = Atomics.exchange(words, this.#news + at, 0);
      for (; bits !== 0; bits &= bits - 1) ranks.push(at * 32 + 31 - Math.clz32(bits & -bits));
    }
    return ranks;
  }

  /** The owner's part; it looks into the queue afterwards. */
  setListening(rank: number, isListening: boolean): void {
    const at = this.#listened + (rank >> 5);
    const bit = 1 << (rank & 31);
    if (isListening) Atomics.or(this.#words, at, bit);
    else Atomics.and(this.#words, at, ~bit);
  }
}
