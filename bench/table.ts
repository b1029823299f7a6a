/** The printed tables: one line for each size, a column for each subject and each ratio. */
import { measuredAims } from './aims.js';
import { formatFigure, formatRatio, formatSize } from './format.js';
import type { Benchmark, Sampled } from './measurement.js';
import { comparisonsOf, headingOf, subjectsOf } from './series.js';
import { pairedRatio, sameSubject, summarise } from './statistics.js';

export const titleOf: Readonly<Record<Benchmark, string>> = {
  latency: 'Latency, one way, µs (median)',
  bandwidth: 'Bandwidth, MB/s (median)',
};

/** The cells of a benchmark's table; a missing figure is an en dash. */
export interface Table {
  readonly figureHeadings: readonly string[];
  readonly ratioHeadings: readonly string[];
  readonly rows: readonly {
    readonly sizeBytes: number;
    readonly figures: readonly string[];
    readonly ratios: readonly string[];
  }[];
}

const missing = '–';

export function tableOf(sampled: readonly Sampled[], benchmark: Benchmark): Table {
  const subjects = subjectsOf(sampled, benchmark);
  const comparisons = comparisonsOf(subjects);
  const measurements = summarise(sampled).filter((one) => one.benchmark === benchmark);
  const sizes = [...new Set(measurements.map((one) => one.sizeBytes))].sort((a, b) => a - b);
  return {
    figureHeadings: subjects.map(headingOf),
    ratioHeadings: comparisons.map(({ heading }) => heading),
    rows: sizes.map((sizeBytes) => ({
      sizeBytes,
      figures: subjects.map((subject) => {
        const found = measurements.find(
          (one) => one.sizeBytes === sizeBytes && sameSubject(one, subject),
        );
        return found ? formatFigure(found.median) : missing;
      }),
      ratios: comparisons.map(({ over, under }) => {
        const ratio = pairedRatio(sampled, benchmark, sizeBytes, over, under);
        return ratio ? formatRatio(ratio.median) : missing;
      }),
    })),
  };
}

/** Columns set right, two spaces between them, the ratios behind a bar. */
export function formatTable(sampled: readonly Sampled[], benchmark: Benchmark): string {
  const table = tableOf(sampled, benchmark);
  const bar = table.ratioHeadings.length > 0 ? ['|'] : [];
  const lines = [
    ['size', ...table.figureHeadings, ...bar, ...table.ratioHeadings],
    ...table.rows.map(({ sizeBytes, figures, ratios }) => [
      formatSize(sizeBytes),
      ...figures,
      ...bar,
      ...ratios,
    ]),
  ];
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? '').length)),
  );
  const text = lines.map((line) =>
    line.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '),
  );
  return [titleOf[benchmark], ...text, ''].join('\n');
}

/** One line for each aim that the run has figures for. */
export function formatAims(sampled: readonly Sampled[]): string {
  return measuredAims(sampled)
    .map((aim) => {
      const { median, min, max, rounds } = aim.measured;
      const range = `${formatRatio(min)} to ${formatRatio(max)} in ${rounds} round${rounds === 1 ? '' : 's'}`;
      return (
        `${formatSize(aim.sizeBytes)} ${aim.benchmark}, ${aim.over} / ${aim.under}: ` +
        `${formatRatio(median)} (${range}; aim: ${aim.bound} ${formatRatio(aim.ratio)}, ` +
        `${aim.reached ? 'reached' : 'not reached'})\n`
      );
    })
    .join('');
}
