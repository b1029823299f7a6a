/** Random numbers for tests, from a seed that is printed and that $SEED sets again. */
import { randomInt } from 'node:crypto';

import type { Test } from 'tap';

export interface SeededRandom {
  readonly seed: number;
  /** A whole number from 0 to `bound - 1`. */
  below(bound: number): number;
  pick<T>(choices: readonly T[]): T;
}

/** A generator of the family mulberry32 (public domain algorithm). */
export function randomFromSeed(seed: number): SeededRandom {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return (z ^ (z >>> 14)) >>> 0;
  };
  const below = (bound: number): number => next() % bound;
  return { seed, below, pick: (choices) => choices[below(choices.length)] };
}

/** The seed to use: $SEED if set. */
export function chooseSeed(): number {
  return Number(process.env['SEED'] ?? randomInt(2 ** 31));
}

export function seededRandom(t: Test): SeededRandom {
  const seed = chooseSeed();
  t.comment(`SEED=${seed}`);
  return randomFromSeed(seed);
}
