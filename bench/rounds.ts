/** Subjects measured in rounds, a line of the table for each beside what it is compared with. */
import { formatFigure, formatRatio } from './format.js';
import { median } from './statistics.js';

/** One round's figures: ns, µs or MB/s, by what was measured. */
export type Figures = Record<string, number>;

export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly figure: string;
  readonly beside?: { readonly what: string; readonly figure: string };
  /** The aim of the comparison: a difference or a ratio. */
  readonly aim?: { readonly kind: 'difference' | 'ratio'; readonly text: string };
}

export function valuesOf(rounds: readonly Figures[], name: string): number[] {
  return rounds.map((round) => round[name]).filter((value) => value !== undefined);
}

/** The medians of all rounds; differences and ratios are taken within each round. */
export function tableLine(row: Row, rounds: readonly Figures[]): string {
  const own = valuesOf(rounds, row.figure);
  if (own.length === 0) return `${row.what.padEnd(28)} not measured\n`;
  let text = `${row.what.padEnd(28)} ${formatFigure(median(own)).padStart(9)} ${row.unit.padEnd(5)}`;
  if (row.beside !== undefined) {
    const other = valuesOf(rounds, row.beside.figure);
    const compared = own.map((value, i) =>
      row.aim?.kind === 'difference' ? value - (other[i] ?? NaN) : value / (other[i] ?? NaN),
    );
    const comparison =
      row.aim?.kind === 'difference'
        ? `${formatFigure(median(compared))} ${row.unit} more`
        : `ratio ${formatRatio(median(compared))}`;
    text += ` ${row.beside.what} ${formatFigure(median(other))} ${row.unit}: ${comparison}`;
  }
  return `${text}${row.aim === undefined ? '' : `  (aim ${row.aim.text})`}\n`;
}
