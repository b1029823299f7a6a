/** What a scenario of message passing is: a piece of program that all ranks of a job run together. */
import type { Communicator } from '../../../lib/mpi/index.js';
import type { SeededRandom } from '../../seeded-random.js';

export interface ScenarioContext {
  readonly world: Communicator;
  readonly rank: number;
  readonly size: number;
  /** The same numbers on each rank. */
  readonly random: SeededRandom;
}

export interface Scenario {
  /** A sentence. */
  readonly name: string;
  /** Fewest ranks that it makes sense with. */
  readonly ranks: number;
  /** Sends of up to so many bytes must end without a receive. */
  readonly eagerBytes?: number;
  /** Sends of so many bytes must not. */
  readonly longBytes?: number;
  readonly run: (context: ScenarioContext) => void | Promise<void>;
}

/** Whether what is sent whole, and what is not, is as a scenario needs it. */
export function suits(
  { eagerBytes = 0, longBytes = Infinity }: Scenario,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const limit = Number(env['VIADUCT_EAGER_BYTES'] ?? 16384);
  return limit >= eagerBytes && limit < longBytes;
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

export function checkEqual(found: unknown, wanted: unknown, what: string): void {
  if (!Object.is(found, wanted)) {
    throw new Error(`${what}: found ${String(found)}, wanted ${String(wanted)}`);
  }
}

/** Runs something that must throw; returns the code of its error. */
export async function codeOf(action: () => unknown): Promise<string | undefined> {
  try {
    await action();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

/** Fills a buffer with bytes that depend on a number and on their place. */
export function fill(bytes: Uint8Array, mark: number): Uint8Array {
  let state = (mark * 2654435761 + 12345) >>> 0;
  for (let k = 0; k < bytes.length; k++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[k] = state >>> 24;
  }
  return bytes;
}

export function checkFilled(bytes: Uint8Array, mark: number, what: string): void {
  const wanted = fill(new Uint8Array(bytes.length), mark);
  const place = bytes.findIndex((byte, k) => byte !== wanted[k]);
  if (place >= 0) throw new Error(`${what}: byte ${place} of ${bytes.length} is wrong`);
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, k) => k);
