/**
 * A cell: what the protocol between two ranks is written in, one cache line.
 *
 * As 32-bit words:
 *
 * | word | |
 * | --- | --- |
 * | 0 | the channel's own |
 * | 1 | kind of message in bits 0–7; in bits 8–31 the high part of word 3 |
 * | 2 | tag, or the name that the receiver of a reply knows |
 * | 3 | size in bytes, or offset of a fragment: the low part |
 * | 4 | context |
 * | 5 | the channel's own |
 * | 6–15 | payload of up to 40 bytes, or fields of the kind |
 */
const TWO_TO_32 = 2 ** 32;

export const CELL_WORDS = 16;
export const CELL_BYTES = CELL_WORDS * 4;
export const INLINE_BYTES = 40;

export const KIND = 1;
export const TAG = 2;
export const SIZE_LOW = 3;
export const CONTEXT = 4;
export const INLINE = 6;

/** Fields of an announcement, and of replies that say where memory is. */
const ADDRESS = INLINE + 1;
const KEY = INLINE + 3;

/** Kind, and a size or offset of up to 53 bits. */
export function putSize(words: Int32Array, cell: number, kind: number, size: number): void {
  words[cell + KIND] = kind | (Math.floor(size / TWO_TO_32) << 8);
  words[cell + SIZE_LOW] = size | 0;
}

export function getSize(words: Int32Array, cell: number): number {
  return (words[cell + KIND] >>> 8) * TWO_TO_32 + (words[cell + SIZE_LOW] >>> 0);
}

/** Where memory is, and the key that opens it where it has one. */
export function putAddress(words: Int32Array, cell: number, address: number, key: number): void {
  words[cell + ADDRESS] = address | 0;
  words[cell + ADDRESS + 1] = (address / TWO_TO_32) | 0;
  words[cell + KEY] = key;
}

export function getAddress(words: Int32Array, cell: number): number {
  return words[cell + ADDRESS + 1] * TWO_TO_32 + (words[cell + ADDRESS] >>> 0);
}

export function getKey(words: Int32Array, cell: number): number {
  return words[cell + KEY];
}
