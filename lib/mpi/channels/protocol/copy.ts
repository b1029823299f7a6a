/** The copies between a user's memory and a channel's, each by the way that is fastest for its size. */
import type { Memory } from '../../memory.js';

/**
 * On processors where memmove uses `rep movsb`, a copy of some KiB and more is 15 times slower when source and
 * destination have nearly the same place within their pages: the destination 0 to 63 bytes after the source.
 */
const ALIAS_BYTES = 64;
export const LINE_BYTES = 64;
export const ALIAS_FROM_BYTES = 2048;
/** Pieces below the size from which memmove uses `rep movsb`. */
const PIECE_BYTES = 1984;
const PAGE_MASK = 4095;

/** Whether a bulk copy between these places would suffer; they are addresses or offsets within a page. */
export function aliases(destination: number, source: number, length: number): boolean {
  return length >= ALIAS_FROM_BYTES && ((destination - source) & PAGE_MASK) < ALIAS_BYTES;
}

/** A channel's memory under the views that the copies use. */
export interface Window {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
}

/**
 * Copies the whole of a short memory to a place in a channel's memory. Words, then the bytes that are left: a loop over words
 * beats TypedArray.set, which costs 40 ns however little it copies.
 */
export function copyOutShort(window: Window, offset: number, memory: Memory): void {
  const length = memory.byteLength;
  const source = memory.words;
  let copied = 0;
  if (source !== undefined) {
    const target = window.words;
    for (; copied + 4 <= length; copied += 4) target[(offset + copied) >> 2] = source[copied >> 2]!;
  }
  for (; copied < length; copied++) window.bytes[offset + copied] = memory.bytes[copied]!;
}

/** Copies a short message out of a channel's memory into the front of a user's memory. */
export function copyInShort(window: Window, offset: number, memory: Memory, length: number): void {
  const target = memory.words;
  let copied = 0;
  if (target !== undefined) {
    const source = window.words;
    for (; copied + 4 <= length; copied += 4) target[copied >> 2] = source[(offset + copied) >> 2]!;
  }
  for (; copied < length; copied++) memory.bytes[copied] = window.bytes[offset + copied]!;
}

/** Copies `source` to a place in `destination`; `aliased` says that `aliases` holds for them. */
export function copyBulk(
  destination: Uint8Array,
  offset: number,
  source: Uint8Array,
  aliased: boolean,
): void {
  if (!aliased) {
    destination.set(source, offset);
    return;
  }
  for (let done = 0; done < source.length; done += PIECE_BYTES) {
    destination.set(source.subarray(done, done + PIECE_BYTES), offset + done);
  }
}
