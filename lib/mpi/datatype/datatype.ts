/** Datatypes: which places of a buffer a message is made of (MPI 4.1, chapter 5). */
import { MpiError, noArgument } from '../errors.js';
import { Memory, Selection } from '../memory.js';
import {
  block,
  elementsWithin,
  type Layout,
  type Part,
  pieceOf,
  repeat,
  sequence,
  Walk,
} from './layout.js';

/** The predefined datatypes: one element of a typed array, named by its constructor. */
export type ElementType =
  | Int8ArrayConstructor
  | Uint8ArrayConstructor
  | Uint8ClampedArrayConstructor
  | Int16ArrayConstructor
  | Uint16ArrayConstructor
  | Int32ArrayConstructor
  | Uint32ArrayConstructor
  | Float32ArrayConstructor
  | Float64ArrayConstructor
  | BigInt64ArrayConstructor
  | BigUint64ArrayConstructor;

/** Memory that a datatype can select from. */
export type SelectableBuffer = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

interface Bounds {
  readonly lowerBoundBytes: number;
  readonly upperBoundBytes: number;
}

/**
 * Which places of a buffer make a message, and in which order. Made by `contiguous`, `vector`, `indexed`, `struct`,
 * `subarray` and `resized`; a view of it on a buffer is sent and received into like a typed array. What is in one piece
 * is not copied for that; the rest is gathered before it is sent, and scattered after it was received.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init, vector } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const rows = 3;
 * const columns = 4;
 * const column = vector({ count: rows, blockLength: 1, stride: columns, of: Float64Array });
 * const matrix = new Float64Array(rows * columns);
 * if (world.rank === 0) await world.send(column.view(matrix.map((_, k) => k)), 1);
 * if (world.rank === 1) {
 *   await world.recv(column.view(matrix, { offsetBytes: 8 }), 0);
 *   console.log(matrix.join(' ')); // prints [1] 0 0 0 0 0 4 0 0 0 8 0 0
 * }
 * ```
 */
export class Datatype {
  /** Bytes that one item adds to a message (MPI_Type_size). */
  readonly sizeBytes: number;
  /** Where an item begins, from its address; may be negative (MPI_Type_get_extent). */
  readonly lowerBoundBytes: number;
  /** From one item to the next (MPI_Type_get_extent). */
  readonly extentBytes: number;
  /** @internal */
  readonly layout: Layout;
  /** @internal first and last byte that it touches */
  readonly trueBounds: Bounds;

  /** @internal */
  constructor(layout: Layout, sizeBytes: number, bounds: Bounds, trueBounds: Bounds) {
    this.layout = layout;
    this.sizeBytes = sizeBytes;
    this.lowerBoundBytes = bounds.lowerBoundBytes;
    this.extentBytes = bounds.upperBoundBytes - bounds.lowerBoundBytes;
    this.trueBounds = trueBounds;
  }

  /**
   * The items that stand at a place of a buffer. The view can be used for any number of messages, and sees the
   * buffer as it is when each is sent.
   *
   * @param place.offsetBytes where the first item's address is, from the start of the buffer; default 0.
   * @param place.count how many items follow each other; default 1.
   * @throws MpiError `ERR_MPI_TYPE` when items reach beyond the buffer; `ERR_MPI_COUNT`, `ERR_MPI_BUFFER`.
   */
  view(
    buffer: SelectableBuffer,
    place: { offsetBytes?: number; count?: number } = {},
  ): DatatypeView {
    return new DatatypeView(this, buffer, place.offsetBytes ?? 0, place.count ?? 1);
  }

  /** How many elements are in the first bytes of a message of this type; undefined if they end within one. */
  elementsIn(byteLength: number): number | undefined {
    if (byteLength === 0) return 0;
    if (this.sizeBytes === 0) return undefined;
    const items = Math.floor(byteLength / this.sizeBytes);
    const elements =
      (items === 0 ? 0 : items * elementsWithin(this.layout, this.sizeBytes)) +
      elementsWithin(this.layout, byteLength - items * this.sizeBytes);
    return Number.isNaN(elements) ? undefined : elements;
  }

  /** @internal */
  get upperBoundBytes(): number {
    return this.lowerBoundBytes + this.extentBytes;
  }
}

/** What a datatype selects of a buffer; made by `Datatype.view`, whose class shows an example. */
export class DatatypeView extends Selection {
  readonly byteLength: number;
  /** @internal */
  readonly piece: Memory | undefined;
  readonly #bytes: Uint8Array;
  readonly #bufferBytes: number;
  readonly #layout: Layout;
  readonly #offsetBytes: number;

  /** @internal */
  constructor(type: Datatype, buffer: SelectableBuffer, offsetBytes: number, count: number) {
    super();
    checkCount(count, 'datatype.view', 'count');
    this.#bytes = bytesOf(buffer);
    this.#bufferBytes = this.#bytes.length;
    this.byteLength = type.sizeBytes * count;
    this.#layout = repeat(count, type.extentBytes, type.layout);
    this.#offsetBytes = offsetBytes;
    const reach = Math.max(0, count - 1) * type.extentBytes;
    const first = offsetBytes + type.trueBounds.lowerBoundBytes + Math.min(0, reach);
    const end = offsetBytes + type.trueBounds.upperBoundBytes + Math.max(0, reach);
    if (this.byteLength > 0 && !(first >= 0 && end <= this.#bufferBytes)) {
      throw new MpiError(
        'ERR_MPI_TYPE',
        `datatype.view: ${count} items at byte ${offsetBytes} touch bytes ${first} to ${end - 1} of a buffer of ` +
          `${this.#bufferBytes} bytes; take a larger buffer, fewer items, or another offset`,
        { call: 'datatype.view', operands: { offsetBytes, count, first, end } },
      );
    }
    const piece = pieceOf(this.#layout);
    if (piece !== undefined) {
      const start =
        this.#bytes.byteOffset + (piece.bytes === 0 ? 0 : offsetBytes + piece.offsetBytes);
      this.piece = new Memory(this.#bytes.buffer, start, piece.bytes);
    }
  }

  pack(): Uint8Array {
    const packed = new Uint8Array(this.byteLength);
    new Walk(this.#whole('pack'), packed, true).move(this.#layout, this.#offsetBytes);
    return packed;
  }

  unpack(bytes: Uint8Array): void {
    if (bytes.length > this.byteLength) {
      throw new MpiError(
        'ERR_MPI_TRUNCATE',
        `view.unpack: ${bytes.length} bytes do not fit into the ${this.byteLength} that the view selects`,
        { call: 'view.unpack', operands: { byteLength: bytes.length, capacity: this.byteLength } },
      );
    }
    new Walk(this.#whole('unpack'), bytes, false).move(this.#layout, this.#offsetBytes);
  }

  #whole(call: string): Uint8Array {
    if (this.#bytes.length === this.#bufferBytes) return this.#bytes;
    throw new MpiError(
      'ERR_MPI_BUFFER',
      `view.${call}: the buffer was detached, transferred or shrunk after the view was made`,
      { call: `view.${call}` },
    );
  }
}

function bytesOf(buffer: unknown): Uint8Array {
  if (ArrayBuffer.isView(buffer)) {
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  if (buffer instanceof ArrayBuffer || buffer instanceof SharedArrayBuffer) {
    return new Uint8Array(buffer);
  }
  throw noArgument(
    'ERR_MPI_BUFFER',
    'datatype.view',
    'a datatype selects from a typed array, a Buffer, a DataView or an ArrayBuffer',
    buffer === null ? 'null' : typeof buffer,
  );
}

const elements = new Map<unknown, Datatype>(
  [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
  ].map((constructor) => {
    const bytes = constructor.BYTES_PER_ELEMENT;
    const bounds = { lowerBoundBytes: 0, upperBoundBytes: bytes };
    return [constructor, new Datatype(block(bytes, bytes), bytes, bounds, bounds)];
  }),
);

/** The datatype that an argument names. */
export function datatypeOf(type: Datatype | ElementType, call: string): Datatype {
  const found = type instanceof Datatype ? type : elements.get(type);
  if (found !== undefined) return found;
  const given: unknown = type;
  throw noArgument(
    'ERR_MPI_TYPE',
    call,
    'a type is a Datatype or the constructor of a typed array, such as Float64Array',
    typeof given === 'function' ? given.name : given === null ? 'null' : typeof given,
  );
}

export function checkCount(value: number, call: string, name: string): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw noArgument('ERR_MPI_COUNT', call, `${name} is a whole number from 0 on`, value);
}

/** `count` items, each `strideBytes` after the one before. */
export function repeated(of: Datatype, count: number, strideBytes: number): Datatype {
  return placed(
    of.sizeBytes * count,
    repeat(count, strideBytes, of.layout),
    count === 0 ? [] : [0, (count - 1) * strideBytes].map((offsetBytes) => ({ offsetBytes, of })),
  );
}

/** Items at places of their own, in this order. */
export function combined(items: readonly { offsetBytes: number; of: Datatype }[]): Datatype {
  const parts = items.map(({ offsetBytes, of }): Part => ({ offsetBytes, of: of.layout }));
  const sizeBytes = items.reduce((sum, { of }) => sum + of.sizeBytes, 0);
  return placed(sizeBytes, sequence(parts), items);
}

/** A datatype with the bounds of these items; those that are nothing have none (MPI 4.1, section 5.1.6). */
function placed(
  sizeBytes: number,
  layout: Layout,
  items: readonly { offsetBytes: number; of: Datatype }[],
): Datatype {
  const boundsOf = (select: (of: Datatype) => Bounds): Bounds => {
    const bounds = { lowerBoundBytes: Infinity, upperBoundBytes: -Infinity };
    for (const { offsetBytes, of } of items) {
      const { lowerBoundBytes, upperBoundBytes } = select(of);
      if (lowerBoundBytes === upperBoundBytes) continue;
      bounds.lowerBoundBytes = Math.min(bounds.lowerBoundBytes, offsetBytes + lowerBoundBytes);
      bounds.upperBoundBytes = Math.max(bounds.upperBoundBytes, offsetBytes + upperBoundBytes);
    }
    return bounds.lowerBoundBytes === Infinity
      ? { lowerBoundBytes: 0, upperBoundBytes: 0 }
      : bounds;
  };
  return new Datatype(
    layout,
    sizeBytes,
    boundsOf((of) => of),
    boundsOf((of) => of.trueBounds),
  );
}
