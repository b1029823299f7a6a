/**
 * The sending end of a queue: writes cells and payloads, knows how much room there is.
 *
 * The path of short messages, here and in consumer.ts, peer.ts, ../protocol and engine.ts, is few functions with what is rare put
 * outside of them: V8 makes one piece of machine code of it only up to a certain length, and a call costs as much as
 * a cell.
 */
import type { Memory } from '../../memory.js';
import {
  ALIAS_FROM_BYTES,
  aliases,
  copyBulk,
  copyOutShort,
  LINE_BYTES,
  type Window,
} from '../protocol/copy.js';
import {
  CELL_WORDS,
  CONTEXT,
  INLINE,
  KIND,
  putAddress,
  putSize,
  SIZE_LOW,
  TAG,
} from '../protocol/cell.js';
import type { Outlet } from '../protocol/ends.js';
import {
  CONGESTED,
  CONSUMED,
  type QueueGeometry,
  type QueuePlace,
  ROOM_WANTED,
  SHIFT,
  STAMP,
} from './layout.js';

/** Kind of a cell that says no more than that the queue goes on at its start. */
export const SKIP = 0;

export class Producer implements Outlet {
  readonly #window: Window;
  readonly #words: Int32Array;
  readonly #firstCell: number;
  readonly #firstSlot: number;
  readonly #control: number;
  readonly #cells: number;
  readonly #slotBytes: number;
  /** Cells used since the start, modulo 2^32. */
  #cell = 0;
  /** How far the receiver has read, when last looked at. */
  #consumed = 0;
  #roomWanted = false;
  onCongestion: () => void = () => undefined;

  constructor(window: Window, place: QueuePlace, geometry: QueueGeometry) {
    this.#window = window;
    this.#words = window.words;
    this.#firstCell = place.cells / 4;
    this.#firstSlot = place.slots;
    this.#control = place.control / 4;
    this.#cells = geometry.cells;
    this.#slotBytes = geometry.slotBytes;
  }

  tryShort(kind: number, context: number, tag: number, memory: Memory): boolean {
    const words = this.#words;
    const number = this.#cell;
    if (((number - this.#consumed) | 0) >= this.#cells && this.#claim(1) < 0) return false;
    const cell = this.#firstCell + (number & (this.#cells - 1)) * CELL_WORDS;
    words[cell + KIND] = kind;
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + SIZE_LOW] = memory.byteLength;
    copyOutShort(this.#window, (cell + INLINE) << 2, memory);
    if (this.#roomWanted) this.#wantNoRoom();
    const stamp = (number + 1) | 0;
    this.#cell = stamp;
    Atomics.store(words, cell + STAMP, stamp);
    return true;
  }

  tryLong(kind: number, context: number, tag: number, memory: Memory, sendId: number): boolean {
    const length = memory.byteLength;
    const words = this.#words;
    const slots = this.#slotsFor(length);
    const index = this.#claim(slots);
    if (index < 0) return false;
    const cell = this.#firstCell + index * CELL_WORDS;
    const place = this.#place(index, length, length < ALIAS_FROM_BYTES ? 0 : memory.pageOffset);
    words[cell + KIND] = kind;
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + SIZE_LOW] = length;
    words[cell + SHIFT] = place - this.#slot(index);
    words[cell + INLINE] = sendId;
    this.#window.bytes.set(memory.bytes, place);
    this.#publish(cell, slots);
    return true;
  }

  tryAnnouncement(
    kind: number,
    context: number,
    tag: number,
    byteLength: number,
    sendId: number,
    address: number,
    key: number,
  ): boolean {
    const index = this.#claim(1);
    if (index < 0) return false;
    const cell = this.#firstCell + index * CELL_WORDS;
    const words = this.#words;
    putSize(words, cell, kind, byteLength);
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + INLINE] = sendId;
    putAddress(words, cell, address, key);
    this.#publish(cell, 1);
    return true;
  }

  tryReply(kind: number, id: number, argument: number, address: number, key: number): boolean {
    const index = this.#claim(1);
    if (index < 0) return false;
    const cell = this.#firstCell + index * CELL_WORDS;
    this.#words[cell + KIND] = kind;
    this.#words[cell + TAG] = id;
    this.#words[cell + INLINE] = argument;
    putAddress(this.#words, cell, address, key);
    this.#publish(cell, 1);
    return true;
  }

  tryFragment(kind: number, id: number, memory: Memory, offset: number, length: number): boolean {
    const slots = this.#slotsFor(length);
    const index = this.#claim(slots);
    if (index < 0) return false;
    const cell = this.#firstCell + index * CELL_WORDS;
    const source = memory.pageOffset + offset;
    const place = this.#place(index, length, source);
    copyBulk(
      this.#window.bytes,
      place,
      memory.bytes.subarray(offset, offset + length),
      aliases(place, source, length),
    );
    const words = this.#words;
    putSize(words, cell, kind, offset);
    words[cell + TAG] = id;
    words[cell + SHIFT] = place - this.#slot(index);
    words[cell + INLINE] = length;
    this.#publish(cell, slots);
    return true;
  }

  #slotsFor(length: number): number {
    return ((length + LINE_BYTES + this.#slotBytes - 1) / this.#slotBytes) | 0;
  }

  #slot(index: number): number {
    return this.#firstSlot + index * this.#slotBytes;
  }

  /** Where a payload goes: at the start of its slot, or a line further on if the copy is a quick one there only. */
  #place(index: number, length: number, source: number): number {
    const slot = this.#slot(index);
    return aliases(slot, source, length) ? slot + LINE_BYTES : slot;
  }

  /**
   * Index of the first of `count` cells in a row, or -1 when the receiver has not freed them yet. At the end of the
   * ring, where fewer than that are left, a cell tells the receiver to go on at the start.
   */
  #claim(count: number): number {
    const index = this.#cell & (this.#cells - 1);
    const left = this.#cells - index;
    const needed = count <= left ? count : left + count;
    if (((this.#cell - this.#consumed) | 0) + needed > this.#cells) {
      this.#look();
      if (((this.#cell - this.#consumed) | 0) + needed > this.#cells) return -1;
    }
    if (count <= left) return index;
    const cell = this.#firstCell + index * CELL_WORDS;
    this.#words[cell + KIND] = SKIP;
    this.#publish(cell, left);
    return 0;
  }

  /**
   * Reads how far the receiver is. It is told before that room is wanted: either this sees what it has freed, or it
   * sees the wish when it frees some.
   */
  #look(): void {
    const words = this.#words;
    if (!this.#roomWanted) {
      this.#roomWanted = true;
      Atomics.store(words, this.#control + ROOM_WANTED, 1);
    }
    this.#consumed = Atomics.load(words, this.#control + CONSUMED);
    if (words[this.#control + CONGESTED] !== 0) this.onCongestion();
  }

  get isCongested(): boolean {
    return Atomics.load(this.#words, this.#control + CONGESTED) !== 0;
  }

  #wantNoRoom(): void {
    this.#roomWanted = false;
    Atomics.store(this.#words, this.#control + ROOM_WANTED, 0);
  }

  #publish(cell: number, count: number): void {
    if (this.#roomWanted) this.#wantNoRoom();
    const stamp = (this.#cell + 1) | 0;
    this.#cell = (this.#cell + count) | 0;
    Atomics.store(this.#words, cell + STAMP, stamp);
  }
}
