/** A user's memory as the channels copy it: the same bytes under the views that copy them fastest. */
import { addressOf } from '../aperture/address.js';
import { MpiError } from './errors.js';

/**
 * What a message can be sent from and received into: all of a typed array, Buffer, DataView or ArrayBuffer, or what a
 * datatype selects of one.
 */
export type MessageBuffer = ArrayBufferView | ArrayBuffer | SharedArrayBuffer | Selection;

/** Places in a buffer that one message gathers or scatters; see `Datatype.view`. */
export abstract class Selection {
  /** @internal The selected memory itself when it is in one piece. */
  abstract readonly piece: Memory | undefined;
  /** Bytes of a message that holds all that is selected. */
  abstract readonly byteLength: number;
  /** A copy of what is selected, in one piece (MPI_Pack). */
  abstract pack(): Uint8Array;
  /**
   * Distributes bytes to the places that are selected, from the first on (MPI_Unpack).
   *
   * @throws MpiError `ERR_MPI_TRUNCATE` when they are more than the places.
   */
  abstract unpack(bytes: Uint8Array): void;
}

const PAGE_BYTES = 4096;

/** Longer memories are never copied word by word. */
const LONGEST_IN_WORDS = 2 ** 20;

export class Memory {
  readonly bytes: Uint8Array;
  /** The same memory as 32-bit words where it is aligned to them, the last 1 to 3 bytes left out, and not large. */
  readonly words: Int32Array | undefined;
  readonly byteLength: number;
  /** Where to distribute what arrives here. */
  readonly selection: Selection | undefined;

  constructor(
    buffer: ArrayBuffer | SharedArrayBuffer,
    byteOffset: number,
    byteLength: number,
    selection?: Selection,
  ) {
    this.bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.words =
      byteOffset % 4 === 0
        ? new Int32Array(buffer, byteOffset, Math.min(byteLength, LONGEST_IN_WORDS) >> 2)
        : undefined;
    this.byteLength = byteLength;
    this.selection = selection;
  }

  /** The memory of a view that nobody else asks for. */
  static of(view: Uint8Array): Memory {
    return new Memory(view.buffer, view.byteOffset, view.byteLength);
  }

  #pageOffset = -1;

  /** Where the memory begins within its page, for the choice of a copy. */
  get pageOffset(): number {
    if (this.#pageOffset < 0) this.#pageOffset = addressOf(this.bytes) % PAGE_BYTES;
    return this.#pageOffset;
  }

  /** False once the buffer was detached, transferred or shrunk under an operation that uses it. */
  get isWhole(): boolean {
    return this.bytes.length === this.byteLength;
  }
}

/** Stands in for no memory: a message of no bytes. */
export const NO_MEMORY = new Memory(new ArrayBuffer(0), 0, 0);

const known = new WeakMap<object, Memory>();

/** Buffers up to this size may outlive their last use by one operation, for a quicker look-up. */
const REMEMBERED_BYTES = 65536;

/** Finds the Memory of a buffer; makes it when a buffer object is first seen. */
export class MemoryCache {
  #buffer: MessageBuffer | undefined;
  #memory = NO_MEMORY;
  readonly #isForReceives: boolean;

  /** @param isForReceives whether memory of selections is to be filled, or holds a copy of them. */
  constructor(isForReceives: boolean) {
    this.#isForReceives = isForReceives;
  }

  /** @throws MpiError `ERR_MPI_BUFFER` when it is no buffer, or a detached one. */
  of(buffer: MessageBuffer, call: string): Memory {
    // Not by the buffer's own byteLength, a getter that costs more than the rest of a small message.
    const memory = this.#memory;
    if (buffer === this.#buffer && memory.bytes.length === memory.byteLength) return memory;
    return this.#find(buffer, call);
  }

  #find(buffer: MessageBuffer, call: string): Memory {
    if (buffer instanceof Selection) return this.#select(buffer);
    let memory = known.get(buffer);
    if (memory === undefined || !memory.isWhole) {
      memory = describe(buffer, call);
      // The size of a view of a resizable buffer may follow the buffer's.
      if (isResizable(buffer)) return memory;
      known.set(buffer, memory);
    }
    if (memory.byteLength <= REMEMBERED_BYTES) {
      this.#buffer = buffer;
      this.#memory = memory;
    }
    return memory;
  }

  #select(selection: Selection): Memory {
    const { piece } = selection;
    if (piece !== undefined) return piece;
    if (!this.#isForReceives) return Memory.of(selection.pack());
    const { byteLength } = selection;
    return new Memory(new ArrayBuffer(byteLength), 0, byteLength, selection);
  }
}

function isResizable(buffer: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): boolean {
  const store: object = ArrayBuffer.isView(buffer) ? buffer.buffer : buffer;
  return (
    ('resizable' in store && store.resizable === true) ||
    ('growable' in store && store.growable === true)
  );
}

function describe(buffer: ArrayBufferView | ArrayBuffer | SharedArrayBuffer, call: string): Memory {
  try {
    if (ArrayBuffer.isView(buffer)) {
      return new Memory(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    }
    if (buffer instanceof ArrayBuffer || buffer instanceof SharedArrayBuffer) {
      return new Memory(buffer, 0, buffer.byteLength);
    }
  } catch (cause) {
    throw new MpiError(
      'ERR_MPI_BUFFER',
      `${call}: this buffer is detached: it was transferred to another thread or closed; send from memory that ` +
        'this thread owns',
      { call, cause },
    );
  }
  const given: unknown = buffer;
  throw new MpiError(
    'ERR_MPI_BUFFER',
    `${call}: a message is sent from and received into a typed array, a Buffer, a DataView, an ArrayBuffer or ` +
      `a datatype's view of one, not ${given === null ? 'null' : typeof given}`,
    { call, operands: { buffer } },
  );
}
