/** The ends of a connection that the protocol sends and receives by. */
import type { Memory } from '../../memory.js';
import {
  CELL_BYTES,
  CELL_WORDS,
  CONTEXT,
  INLINE,
  INLINE_BYTES,
  KIND,
  putAddress,
  putSize,
  SIZE_LOW,
  TAG,
} from '../protocol/cell.js';
import {
  ALIAS_FROM_BYTES,
  aliases,
  copyBulk,
  copyInShort,
  copyOutShort,
  type Window,
} from '../protocol/copy.js';
import type { Inlet, Outlet } from '../protocol/ends.js';
import { type Connection, HEADER_BYTES } from './connection.js';

const NO_CONNECTION: Window = { words: new Int32Array(0), bytes: new Uint8Array(0) };

/**
 * Writes messages into the connection's buffers and has them sent: each at once, or, between `open` and `flush`, as many
 * cells in one message as fit, which is what those get that had to wait.
 */
export class VerbsOutlet implements Outlet {
  isCongested = false;
  onCongestion: () => void = () => undefined;
  connection: Connection | undefined = undefined;
  #window = NO_CONNECTION;
  readonly #cellsInMessage: number;
  #isOpen = false;
  /** First word of the message that cells are added to; -1: none. */
  #batch = -1;
  #batchBytes = 0;
  #batchCells = 0;

  /** @param payloadBytes room that a message has besides its first cell. */
  constructor(payloadBytes: number) {
    this.#cellsInMessage = 1 + Math.floor(payloadBytes / CELL_BYTES);
  }

  attach(connection: Connection): void {
    this.connection = connection;
    this.#window = connection;
  }

  tryShort(kind: number, context: number, tag: number, memory: Memory): boolean {
    const cell = this.#claimCell();
    if (cell < 0) return false;
    const words = this.#window.words;
    const { byteLength } = memory;
    words[cell + KIND] = kind;
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + SIZE_LOW] = byteLength;
    copyOutShort(this.#window, (cell + INLINE) << 2, memory);
    this.#endCell(HEADER_BYTES + byteLength);
    return true;
  }

  tryLong(kind: number, context: number, tag: number, memory: Memory, sendId: number): boolean {
    const cell = this.#claimMessage();
    if (cell < 0) return false;
    const { words, bytes } = this.#window;
    const { byteLength } = memory;
    const place = cell * 4 + CELL_BYTES;
    words[cell + KIND] = kind;
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + SIZE_LOW] = byteLength;
    words[cell + INLINE] = sendId;
    const aliased = byteLength >= ALIAS_FROM_BYTES && aliases(place, memory.pageOffset, byteLength);
    copyBulk(bytes, place, memory.bytes, aliased);
    this.connection?.send(CELL_BYTES + byteLength);
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
    const cell = this.#claimCell();
    if (cell < 0) return false;
    const { words } = this.#window;
    putSize(words, cell, kind, byteLength);
    words[cell + TAG] = tag;
    words[cell + CONTEXT] = context;
    words[cell + INLINE] = sendId;
    putAddress(words, cell, address, key);
    this.#endCell(CELL_BYTES);
    return true;
  }

  tryReply(kind: number, id: number, argument: number, address: number, key: number): boolean {
    const cell = this.#claimCell();
    if (cell < 0) return false;
    const { words } = this.#window;
    words[cell + KIND] = kind;
    words[cell + TAG] = id;
    words[cell + INLINE] = argument;
    putAddress(words, cell, address, key);
    this.#endCell(CELL_BYTES);
    return true;
  }

  tryFragment(kind: number, id: number, memory: Memory, offset: number, length: number): boolean {
    const cell = this.#claimMessage();
    if (cell < 0) return false;
    const { words, bytes } = this.#window;
    const place = cell * 4 + CELL_BYTES;
    putSize(words, cell, kind, offset);
    words[cell + TAG] = id;
    words[cell + INLINE] = length;
    copyBulk(
      bytes,
      place,
      memory.bytes.subarray(offset, offset + length),
      aliases(place, memory.pageOffset + offset, length),
    );
    this.connection?.send(CELL_BYTES + length);
    return true;
  }

  /** From now on short messages may share one. */
  open(): void {
    this.#isOpen = true;
  }

  /** Sends what there is of a shared message, and each later one by itself. */
  flush(): void {
    this.#isOpen = false;
    this.#sendBatch();
  }

  #claimMessage(): number {
    this.#sendBatch();
    return this.connection === undefined ? -1 : this.connection.claim();
  }

  #claimCell(): number {
    if (this.#batch >= 0) {
      if (this.#batchCells < this.#cellsInMessage) {
        return this.#batch + this.#batchCells * CELL_WORDS;
      }
      this.#sendBatch();
    }
    return this.connection === undefined ? -1 : this.connection.claim();
  }

  #endCell(byteLength: number): void {
    if (!this.#isOpen) {
      this.connection?.send(byteLength);
      return;
    }
    if (this.#batch < 0) {
      this.#batch = this.connection!.claim();
      this.#batchCells = 0;
    }
    this.#batchBytes = this.#batchCells * CELL_BYTES + byteLength;
    this.#batchCells++;
  }

  #sendBatch(): void {
    if (this.#batch < 0) return;
    this.#batch = -1;
    this.connection?.send(this.#batchBytes);
  }
}

/** Takes messages out of the connection's receive buffers. */
export class VerbsInlet implements Inlet {
  #window = NO_CONNECTION;
  readonly #setCongested: (isCongested: boolean) => void;

  /** @param setCongested tells the sender. */
  constructor(setCongested: (isCongested: boolean) => void) {
    this.#setCongested = setCongested;
  }

  attach(connection: Connection): void {
    this.#window = connection;
  }

  takeShort(cell: number, length: number, memory: Memory): void {
    copyInShort(this.#window, (cell + INLINE) << 2, memory, length);
  }

  takeCopy(cell: number, length: number, mayBeShort: boolean): Uint8Array {
    const isShort = length <= INLINE_BYTES && mayBeShort;
    const place = cell * 4 + (isShort ? INLINE * 4 : CELL_BYTES);
    return this.#window.bytes.slice(place, place + length);
  }

  takePayload(cell: number, length: number, memory: Memory, offset: number): void {
    const place = cell * 4 + CELL_BYTES;
    const aliased =
      length >= ALIAS_FROM_BYTES && aliases(memory.pageOffset + offset, place, length);
    copyBulk(memory.bytes, offset, this.#window.bytes.subarray(place, place + length), aliased);
  }

  setCongested(isCongested: boolean): void {
    this.#setCongested(isCongested);
  }
}
