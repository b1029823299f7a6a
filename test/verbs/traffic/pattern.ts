/** Data that each side makes for itself. */

/** Bytes that look random and are the same wherever they are made. */
export function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  // A linear congruential generator, of which the upper bits are used.
  for (let i = 0, state = seed | 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
