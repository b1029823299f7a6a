/** Payloads that tell which message they belong to, so that a lost, mixed or stale byte shows. */

/** A seed for one message: of its size, its place in a series and its slot in a window. */
export function seedOf(sizeBytes: number, iteration: number, slot: number): number {
  let seed = Math.imul(sizeBytes + 1, 0x9e3779b1);
  seed = Math.imul(seed ^ (seed >>> 15) ^ iteration, 0x85ebca6b);
  return Math.imul(seed ^ (seed >>> 13) ^ slot, 0xc2b2ae35) >>> 0;
}

function patternAt(seed: number, index: number): number {
  return Math.imul(index + seed, 0x9e3779b1) >>> 24;
}

export function fillPattern(bytes: Uint8Array, seed: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = patternAt(seed, i);
}

/** @throws Error that names the first wrong byte */
export function checkPattern(bytes: Uint8Array, seed: number): void {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== patternAt(seed, i)) {
      throw new Error(
        `byte ${i} of a message of ${bytes.length} bytes is ${bytes[i]} instead of ${patternAt(seed, i)}`,
      );
    }
  }
}

/** Messages of one size that a checked exchange moves: enough to go round a ring of slots. */
export function checkedMessages(sizeBytes: number): number {
  return Math.min(1000, Math.max(4, Math.floor(2 ** 20 / Math.max(1, sizeBytes))));
}

/** Messages in flight in a checked exchange, where each has memory of its own: fewer than 64 if large. */
export function checkedWindow(sizeBytes: number): number {
  return Math.min(windowMessages, checkedMessages(sizeBytes));
}

/** Messages in flight in a bandwidth benchmark, as in the OSU micro-benchmarks. */
export const windowMessages = 64;
