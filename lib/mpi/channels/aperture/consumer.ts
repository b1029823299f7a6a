/** The receiving end of a queue: sees the next cell, takes its payload, says how far it has read. */
import { loadOrdered } from '../../../aperture/ordered.js';
import type { Memory } from '../../memory.js';
import {
  ALIAS_FROM_BYTES,
  aliases,
  copyBulk,
  copyInShort,
  LINE_BYTES,
  type Window,
} from '../protocol/copy.js';
import { CELL_WORDS, INLINE, INLINE_BYTES } from '../protocol/cell.js';
import type { Inlet } from '../protocol/ends.js';
import {
  CONGESTED,
  CONSUMED,
  type QueueGeometry,
  type QueuePlace,
  ROOM_WANTED,
  SHIFT,
} from './layout.js';

export class Consumer implements Inlet {
  readonly #window: Window;
  readonly #words: Int32Array;
  readonly #firstCell: number;
  readonly #firstSlot: number;
  readonly #control: number;
  readonly #cells: number;
  readonly #slotBytes: number;
  /** Cells read since the start, modulo 2^32. */
  #cell = 0;
  /** Index of the next cell's first word. */
  #next: number;
  #published = 0;
  /**
   * Views of payloads, one for each slot that one began in. Messages of one size come round to the same slots, so a
   * steady stream makes no new view.
   */
  readonly #views: (Uint8Array | undefined)[];
  /** How far each of them begins after its slot does. */
  readonly #shifts: Uint8Array;

  constructor(window: Window, place: QueuePlace, geometry: QueueGeometry) {
    this.#window = window;
    this.#words = window.words;
    this.#firstCell = place.cells / 4;
    this.#next = this.#firstCell;
    this.#firstSlot = place.slots;
    this.#control = place.control / 4;
    this.#cells = geometry.cells;
    this.#slotBytes = geometry.slotBytes;
    this.#views = new Array<Uint8Array | undefined>(geometry.cells).fill(undefined);
    this.#shifts = new Uint8Array(geometry.cells);
  }

  /** Index of the next cell's first word if the sender has published it, else -1. */
  peek(): number {
    const next = this.#next;
    return loadOrdered(this.#words, next) === ((this.#cell + 1) | 0) ? next : -1;
  }

  takeShort(cell: number, length: number, memory: Memory): void {
    copyInShort(this.#window, (cell + INLINE) << 2, memory, length);
  }

  takeCopy(cell: number, length: number, mayBeShort: boolean): Uint8Array {
    if (length > INLINE_BYTES || !mayBeShort) return this.#view(cell, length).slice();
    const offset = (cell + INLINE) << 2;
    return this.#window.bytes.slice(offset, offset + length);
  }

  takePayload(cell: number, length: number, memory: Memory, offset: number): void {
    const aliased =
      length >= ALIAS_FROM_BYTES && aliases(memory.pageOffset + offset, this.#place(cell), length);
    copyBulk(memory.bytes, offset, this.#view(cell, length), aliased);
  }

  /** Frees a cell without slots for the sender; true if it waits for that. */
  releaseShort(): boolean {
    return this.#advance(1);
  }

  /** Frees the cells of a payload for the sender; true if it waits for that. */
  releaseLong(payloadBytes: number): boolean {
    return this.#advance(((payloadBytes + LINE_BYTES + this.#slotBytes - 1) / this.#slotBytes) | 0);
  }

  /** Goes on at the start of the ring. */
  skip(): boolean {
    return this.#advance(this.#cells - (this.#cell & (this.#cells - 1)));
  }

  setCongested(isCongested: boolean): void {
    Atomics.store(this.#words, this.#control + CONGESTED, isCongested ? 1 : 0);
  }

  #advance(count: number): boolean {
    const cell = (this.#cell + count) | 0;
    this.#cell = cell;
    this.#next = this.#firstCell + (cell & (this.#cells - 1)) * CELL_WORDS;
    return ((cell - this.#published) | 0) >= this.#cells >> 2 && this.#publish(cell);
  }

  /**
   * Rarely: the sender looks only when it seems to be out of room, and each look moves this line. What is not published
   * yet is less than a quarter, which leaves room for the longest message, so the sender never waits for it.
   */
  #publish(cell: number): boolean {
    this.#published = cell;
    Atomics.store(this.#words, this.#control + CONSUMED, cell);
    return Atomics.load(this.#words, this.#control + ROOM_WANTED) !== 0;
  }

  #slotOf(cell: number): number {
    return (cell - this.#firstCell) / CELL_WORDS;
  }

  /** Offset of a cell's payload in the aperture. */
  #place(cell: number): number {
    const shift = this.#words[cell + SHIFT] & LINE_BYTES;
    return this.#firstSlot + this.#slotOf(cell) * this.#slotBytes + shift;
  }

  #view(cell: number, length: number): Uint8Array {
    const slot = this.#slotOf(cell);
    const shift = this.#words[cell + SHIFT] & LINE_BYTES;
    const known = this.#views[slot];
    if (known !== undefined && known.length === length && this.#shifts[slot] === shift) {
      return known;
    }
    const place = this.#place(cell);
    const view = this.#window.bytes.subarray(place, place + length);
    this.#views[slot] = view;
    this.#shifts[slot] = shift;
    return view;
  }
}
