/** `npm run bench -- vm`: what a virtual machine costs, driver beside driver and beside no machine at all. */
import { writeFile } from 'node:fs/promises';

import type { DriverName } from '../../lib/vm/index.js';
import { formatFigure, formatRatio } from '../format.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords, UsageError } from '../options.js';
import { median } from '../statistics.js';
import { absence, compileCosts, measureMachine, measureNative, type Figures } from './subjects.js';

export const vmHelp = `Measures virtual machines: boot to agent ready, memory, image, snapshot, restore and migration, and
what a system call and a page fault cost in them beside this host.

Usage: npm run -s bench -- vm [options]

Options:
  --rounds N       every subject once in each; ratios are taken within a round (default: 3)
  --driver NAME    only this driver: uml or qemu
  --json FILE      write the machine and the figures of all rounds
  --help           this text
`;

interface Row {
  readonly what: string;
  readonly figure: string;
  readonly unit: string;
  /** Units of the figure in one that is shown. */
  readonly scale: number;
  readonly goal?: string;
  /** Whose figure of the same name it is compared with. */
  readonly beside?: 'native';
}

const MEGABYTE = 1e6;

const ROWS: readonly Row[] = [
  { what: 'boot to agent ready', figure: 'bootMs', unit: 'ms', scale: 1 },
  { what: 'memory of the host', figure: 'residentBytes', unit: 'MB', scale: MEGABYTE },
  {
    what: 'memory used in the guest',
    figure: 'usedBytes',
    unit: 'MB',
    scale: MEGABYTE,
    goal: '≤ 23 MB',
  },
  {
    what: 'kernel and initramfs',
    figure: 'imageBytes',
    unit: 'MB',
    scale: MEGABYTE,
    goal: '≤ 30 MB',
  },
  { what: 'snapshot', figure: 'snapshotMs', unit: 'ms', scale: 1 },
  { what: 'its size', figure: 'snapshotBytes', unit: 'MB', scale: MEGABYTE },
  { what: 'restore', figure: 'restoreMs', unit: 'ms', scale: 1 },
  { what: 'migration', figure: 'migrationMs', unit: 'ms', scale: 1 },
  { what: 'its downtime', figure: 'downtimeMs', unit: 'ms', scale: 1 },
  { what: 'system call', figure: 'systemCall', unit: 'ns', scale: 1, beside: 'native' },
  { what: 'page fault', figure: 'pageFault', unit: 'ns', scale: 1, beside: 'native' },
];

function values(rounds: readonly Figures[], name: string): number[] {
  return rounds.map((round) => round[name] ?? NaN).filter((value) => !Number.isNaN(value));
}

function tableLine(row: Row, driver: string, rounds: readonly Figures[]): string | undefined {
  const own = values(rounds, `${driver} ${row.figure}`);
  if (own.length === 0) return undefined;
  const figure = formatFigure(median(own) / row.scale);
  let line = `${row.what.padEnd(26)} ${driver.padEnd(6)} ${figure.padStart(8)} ${row.unit}`;
  if (row.beside !== undefined) {
    const other = values(rounds, `${row.beside} ${row.figure}`);
    const ratios = own.map((value, i) => value / (other[i] ?? NaN));
    line += `  ${row.beside} ${formatFigure(median(other))} ${row.unit}: ratio ${formatRatio(median(ratios))}`;
  }
  return row.goal === undefined ? line : `${line}  (the paper's goal: ${row.goal})`;
}

/** @throws UsageError, VmError, or the failure of a program that it runs */
export async function runVmBenchmark(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values: options } = parseWords({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      driver: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (options.help === true) {
    process.stdout.write(vmHelp);
    return;
  }
  const rounds = integer('--rounds', options.rounds, 1, 100);
  const all: readonly DriverName[] = ['uml', 'qemu'];
  const drivers = new Set(all.filter((name) => (options.driver ?? name) === name));
  if (drivers.size === 0) {
    throw new UsageError(`--driver takes uml or qemu, not '${String(options.driver)}'`);
  }
  const costs = await compileCosts();
  const measured: Figures[] = [];
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
    const figures = await measureNative(costs);
    for (const driver of drivers) {
      try {
        Object.assign(figures, await measureMachine(driver, costs, signal));
      } catch (error) {
        const why = absence(error);
        if (why === undefined) throw error;
        process.stderr.write(`${driver} is not measured: ${why}\n`);
        drivers.delete(driver);
      }
    }
    measured.push(figures);
  }
  for (const row of ROWS) {
    for (const driver of drivers) {
      const line = tableLine(row, driver, measured);
      if (line !== undefined) process.stdout.write(`${line}\n`);
    }
  }
  if (options.json !== undefined) {
    const machine = await describeMachine([]);
    await writeFile(options.json, `${JSON.stringify({ machine, rounds: measured }, null, 2)}\n`);
  }
}
