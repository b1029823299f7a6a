/**
 * Where ranks of an aperture show how they are reached by another channel: for each rank a length in bytes, then text; the length
 * is written last.
 */
import { MpiError } from '../../errors.js';
import type { CardBoard } from '../verbs/card.js';
import { CARD_BYTES, type Layout } from './layout.js';

const TEXT_BYTES = CARD_BYTES - 4;

export class ApertureCardBoard implements CardBoard {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #layout: Layout;
  readonly #rank: number;

  constructor(words: Int32Array, bytes: Uint8Array, layout: Layout, rank: number) {
    this.#words = words;
    this.#bytes = bytes;
    this.#layout = layout;
    this.#rank = rank;
  }

  publish(text: string): void {
    const encoded = Buffer.from(text, 'utf8');
    if (encoded.length > TEXT_BYTES) {
      throw new MpiError(
        'ERR_MPI_LAYOUT',
        `init: the aperture has room for a card of ${TEXT_BYTES} bytes, not of ${encoded.length}`,
        { call: 'init', operands: { byteLength: encoded.length } },
      );
    }
    const place = this.#layout.card(this.#rank);
    this.#bytes.set(encoded, place + 4);
    Atomics.store(this.#words, place / 4, encoded.length);
  }

  read(rank: number): string | undefined {
    const place = this.#layout.card(rank);
    const length = Math.min(Atomics.load(this.#words, place / 4), TEXT_BYTES);
    if (length <= 0) return undefined;
    return Buffer.from(this.#bytes.slice(place + 4, place + 4 + length)).toString('utf8');
  }
}
