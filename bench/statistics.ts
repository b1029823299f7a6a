/** Medians, and ratios that are paired by round so that a machine's slow drift cancels out of them. */
import { unitOf } from './measurement.js';
import type { Benchmark, Measurement, Sampled, Subject } from './measurement.js';

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted.length >> 1;
  const high = sorted[upper];
  return sorted.length % 2 === 1 ? high : (sorted[upper - 1] + high) / 2;
}

/** The mean of the middle half: as robust as the median, and finer where a clock has coarse steps. */
export function midmean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('midmean of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const outside = sorted.length >> 2;
  const middle = sorted.slice(outside, sorted.length - outside);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}

function spread(samples: readonly number[]): { median: number; min: number; max: number } {
  return {
    median: median(samples),
    min: samples.reduce((least, sample) => Math.min(least, sample)),
    max: samples.reduce((most, sample) => Math.max(most, sample)),
  };
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return [...groups.values()];
}

/** One measurement for each benchmark, subject and size, with the samples of all its rounds. */
export function summarise(sampled: readonly Sampled[]): Measurement[] {
  return groupBy(sampled, (one) =>
    JSON.stringify([one.benchmark, one.where, one.peer, one.sizeBytes]),
  ).map((group) => {
    const { benchmark, where, peer, sizeBytes } = group[0];
    const samples = group.flatMap((one) => one.samples);
    return {
      benchmark,
      where,
      peer,
      sizeBytes,
      unit: unitOf[benchmark],
      ...spread(samples),
      samples,
    };
  });
}

/** The median of one ratio for each round, with the least and the greatest of them. */
export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

export function sameSubject(a: Subject, b: Subject): boolean {
  return a.where === b.where && a.peer === b.peer;
}

/**
 * `over / under` at one size: within each round that has both, the ratio of their medians.
 * `undefined` when no round has both.
 */
export function pairedRatio(
  sampled: readonly Sampled[],
  benchmark: Benchmark,
  sizeBytes: number,
  over: Subject,
  under: Subject,
): Ratio | undefined {
  const here = sampled.filter((one) => one.benchmark === benchmark && one.sizeBytes === sizeBytes);
  const ratios = here
    .filter((one) => sameSubject(one, over))
    .flatMap((one) => {
      const other = here.find((it) => it.round === one.round && sameSubject(it, under));
      return other ? [median(one.samples) / median(other.samples)] : [];
    });
  return ratios.length === 0 ? undefined : { ...spread(ratios), rounds: ratios.length };
}
