/** The ratios that viaduct reaches for, and how near a run came to them. */
import type { Benchmark, Sampled } from './measurement.js';
import { comparisonsOf, headingOf, subjectsOf } from './series.js';
import { pairedRatio } from './statistics.js';
import type { Ratio } from './statistics.js';

interface Aim {
  readonly benchmark: Benchmark;
  readonly sizeBytes: number;
  /** Headings of the comparison: `VM`, `native`, or a peer's name. */
  readonly over: string;
  readonly under: string;
  readonly bound: 'at most' | 'at least';
  readonly ratio: number;
}

const mebi = 2 ** 20;

const aims: readonly Aim[] = [
  {
    benchmark: 'latency',
    sizeBytes: 8,
    over: 'VM',
    under: 'native',
    bound: 'at most',
    ratio: 1.05,
  },
  {
    benchmark: 'bandwidth',
    sizeBytes: mebi,
    over: 'VM',
    under: 'native',
    bound: 'at least',
    ratio: 0.97,
  },
  {
    benchmark: 'latency',
    sizeBytes: 8,
    over: 'native',
    under: 'MPICH',
    bound: 'at most',
    ratio: 1,
  },
  {
    benchmark: 'bandwidth',
    sizeBytes: mebi,
    over: 'native',
    under: 'MPICH',
    bound: 'at least',
    ratio: 1,
  },
];

export interface MeasuredAim extends Aim {
  readonly measured: Ratio;
  readonly reached: boolean;
}

/** The aims that a run has figures for; reached or not is judged at the two decimals that are shown. */
export function measuredAims(sampled: readonly Sampled[]): MeasuredAim[] {
  return aims.flatMap((aim) => {
    const comparison = comparisonsOf(subjectsOf(sampled, aim.benchmark)).find(
      ({ over, under }) => headingOf(over) === aim.over && headingOf(under) === aim.under,
    );
    if (!comparison) return [];
    const { over, under } = comparison;
    const measured = pairedRatio(sampled, aim.benchmark, aim.sizeBytes, over, under);
    if (!measured) return [];
    const shown = Number(measured.median.toFixed(2));
    const reached = aim.bound === 'at most' ? shown <= aim.ratio : shown >= aim.ratio;
    return [{ ...aim, measured, reached }];
  });
}
