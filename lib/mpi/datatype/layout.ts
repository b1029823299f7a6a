/**
 * Where the elements of a datatype stand, as a tree whose size does not grow with counts and strides; and the one walk
 * over it that gathers and scatters.
 */

/** Elements in a row, without gaps. */
interface Block {
  readonly kind: 'block';
  readonly bytes: number;
  /** Of one element, by which messages are counted. */
  readonly elementBytes: number;
}

interface Repeat {
  readonly kind: 'repeat';
  readonly count: number;
  readonly strideBytes: number;
  readonly of: Layout;
}

interface Sequence {
  readonly kind: 'sequence';
  readonly parts: readonly Part[];
}

export interface Part {
  readonly offsetBytes: number;
  readonly of: Layout;
}

export type Layout = Block | Repeat | Sequence;

export const block = (bytes: number, elementBytes: number): Layout => ({
  kind: 'block',
  bytes,
  elementBytes,
});

const isEmpty = (layout: Layout): boolean => layout.kind === 'block' && layout.bytes === 0;

export function repeat(count: number, strideBytes: number, of: Layout): Layout {
  if (count === 0 || isEmpty(of)) return block(0, 1);
  if (count === 1) return of;
  if (of.kind === 'block' && of.bytes === strideBytes) {
    return block(count * of.bytes, of.elementBytes);
  }
  if (of.kind === 'repeat' && of.count * of.strideBytes === strideBytes) {
    return repeat(count * of.count, of.strideBytes, of.of);
  }
  return { kind: 'repeat', count, strideBytes, of };
}

export function sequence(parts: readonly Part[]): Layout {
  const joined: Part[] = [];
  for (const part of parts) {
    if (isEmpty(part.of)) continue;
    const last = joined.at(-1);
    if (
      last?.of.kind === 'block' &&
      part.of.kind === 'block' &&
      last.of.elementBytes === part.of.elementBytes &&
      last.offsetBytes + last.of.bytes === part.offsetBytes
    ) {
      joined[joined.length - 1] = {
        offsetBytes: last.offsetBytes,
        of: block(last.of.bytes + part.of.bytes, last.of.elementBytes),
      };
    } else {
      joined.push(part);
    }
  }
  if (joined.length === 0) return block(0, 1);
  if (joined.length === 1 && joined[0].offsetBytes === 0) return joined[0].of;
  return { kind: 'sequence', parts: joined };
}

/** The place of a layout that is all in one piece. */
export function pieceOf(layout: Layout): { offsetBytes: number; bytes: number } | undefined {
  if (layout.kind === 'block') return { offsetBytes: 0, bytes: layout.bytes };
  if (layout.kind === 'repeat') return undefined;
  let piece: { offsetBytes: number; bytes: number } | undefined;
  for (const { offsetBytes, of } of layout.parts) {
    if (of.kind !== 'block') return undefined;
    if (piece === undefined) piece = { offsetBytes, bytes: of.bytes };
    else if (piece.offsetBytes + piece.bytes !== offsetBytes) return undefined;
    else piece = { offsetBytes: piece.offsetBytes, bytes: piece.bytes + of.bytes };
  }
  return piece;
}

/** How many elements the first `bytes` of a packed layout are; NaN when they end within one. */
export function elementsWithin(layout: Layout, bytes: number): number {
  return countElements(layout, { left: bytes });
}

function countElements(layout: Layout, rest: { left: number }): number {
  if (rest.left === 0) return 0;
  switch (layout.kind) {
    case 'block': {
      const taken = Math.min(rest.left, layout.bytes);
      rest.left -= taken;
      return taken % layout.elementBytes === 0 ? taken / layout.elementBytes : NaN;
    }
    case 'repeat': {
      let elements = 0;
      for (let k = 0; k < layout.count && rest.left > 0; k++) {
        elements += countElements(layout.of, rest);
      }
      return elements;
    }
    case 'sequence':
      return layout.parts.reduce((elements, { of }) => elements + countElements(of, rest), 0);
  }
}

/** Blocks up to this size are copied in a loop, which beats TypedArray.set on a new view. */
const LONGEST_LOOP_BYTES = 128;

/** One gathering or scattering of a whole layout. */
export class Walk {
  readonly #places: Uint8Array;
  readonly #packed: Uint8Array;
  readonly #placesInWords: Int32Array | undefined;
  readonly #packedInWords: Int32Array | undefined;
  readonly #isGathering: boolean;
  /** Bytes of `packed` that are done. */
  #position = 0;

  /** @param packed as long as what is to be moved: a scatter ends with it. */
  constructor(places: Uint8Array, packed: Uint8Array, isGathering: boolean) {
    this.#places = places;
    this.#packed = packed;
    this.#placesInWords = inWords(places);
    this.#packedInWords = inWords(packed);
    this.#isGathering = isGathering;
  }

  /** Moves one layout that stands at `at`. */
  move(layout: Layout, at: number): void {
    if (this.#position === this.#packed.length) return;
    switch (layout.kind) {
      case 'block':
        this.#moveBlocks(at, 1, layout.bytes, 0);
        return;
      case 'repeat':
        if (layout.of.kind === 'block') {
          this.#moveBlocks(at, layout.count, layout.of.bytes, layout.strideBytes);
          return;
        }
        for (let k = 0; k < layout.count; k++) this.move(layout.of, at + k * layout.strideBytes);
        return;
      case 'sequence':
        for (const { offsetBytes, of } of layout.parts) this.move(of, at + offsetBytes);
    }
  }

  #moveBlocks(at: number, count: number, bytes: number, stride: number): void {
    const left = this.#packed.length - this.#position;
    const whole = Math.min(count, Math.floor(left / bytes));
    if (bytes > LONGEST_LOOP_BYTES) {
      for (let k = 0; k < whole; k++) this.#moveLong(at + k * stride, bytes);
    } else if (((at | bytes | stride | this.#position) & 3) === 0 && this.#hasWords) {
      this.#moveInLoop(
        this.#placesInWords!,
        this.#packedInWords!,
        at / 4,
        whole,
        bytes / 4,
        stride / 4,
      );
      this.#position += whole * bytes;
    } else {
      this.#moveInLoop(this.#places, this.#packed, at, whole, bytes, stride);
      this.#position += whole * bytes;
    }
    if (whole < count && this.#position < this.#packed.length) {
      this.#moveLong(at + whole * stride, this.#packed.length - this.#position);
    }
  }

  get #hasWords(): boolean {
    return this.#placesInWords !== undefined && this.#packedInWords !== undefined;
  }

  #moveLong(at: number, bytes: number): void {
    const position = this.#position;
    if (this.#isGathering) this.#packed.set(this.#places.subarray(at, at + bytes), position);
    else this.#places.set(this.#packed.subarray(position, position + bytes), at);
    this.#position = position + bytes;
  }

  #moveInLoop(
    places: Uint8Array | Int32Array,
    packed: Uint8Array | Int32Array,
    at: number,
    count: number,
    length: number,
    stride: number,
  ): void {
    let position = this.#position / places.BYTES_PER_ELEMENT;
    for (let k = 0; k < count; k++) {
      const start = at + k * stride;
      if (this.#isGathering) {
        for (let i = 0; i < length; i++) packed[position + i] = places[start + i];
      } else {
        for (let i = 0; i < length; i++) places[start + i] = packed[position + i];
      }
      position += length;
    }
  }
}

function inWords(bytes: Uint8Array): Int32Array | undefined {
  if (bytes.byteOffset % 4 !== 0) return undefined;
  return new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 4));
}
