/** perftest's programs, unmodified, between two processes on the software HCA. */
import { spawnSync } from 'node:child_process';

import { softwareHcaPath } from '../../lib/verbs/index.js';
import { runLines } from '../process-lines.js';
import { midmean } from '../statistics.js';

export interface PerftestRun {
  readonly program: 'ib_write_lat' | 'ib_send_lat' | 'ib_write_bw' | 'ib_send_bw';
  readonly sizeBytes: number;
  readonly iterations: number;
  /** Whether registered memory moves where peers can map it. */
  readonly remap: boolean;
  /** On two hosts: what runs a command on each, where the server is, and which GID both send from. */
  readonly apart?: {
    readonly server: readonly string[];
    readonly client: readonly string[];
    readonly address: string;
    readonly gidIndex: number;
  };
}

export function perftestMissing(): boolean {
  return spawnSync('ib_write_lat', ['--version']).error !== undefined;
}

let port = 21_000 + (process.pid % 10_000);

export interface PerftestResult {
  /**
   * Of latency programs the mean of the middle half of the times in µs, because their table has steps of 0.01 µs; of
   * bandwidth the average, in MB/s of 10^6 bytes.
   */
  readonly figure: number;
  /** Messages a second; of bandwidth alone. */
  readonly rate: number;
  /** All numbers of the line, as the program prints them. */
  readonly columns: readonly number[];
}

const isLatency = ({ program }: PerftestRun): boolean => program.endsWith('_lat');

function resultIn(run: PerftestRun, line: string): PerftestResult | undefined {
  const columns = line.trim().split(/\s+/).map(Number);
  if (columns[0] !== run.sizeBytes || columns.length < 5) return undefined;
  const [, , , fourth = NaN, fifth = NaN] = columns;
  if (isLatency(run)) return { figure: fifth, rate: NaN, columns };
  return { figure: fourth * 1.048576, rate: fifth * 1e6, columns };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

/** @throws Error that names the program and what it said, or that it printed no figure */
export async function runPerftest(run: PerftestRun, signal: AbortSignal): Promise<PerftestResult> {
  port += 1;
  const apart = run.apart;
  const args = [
    ...['-s', String(run.sizeBytes), '-n', String(run.iterations), '-p', String(port), '-F'],
    ...(apart === undefined ? [] : ['-x', String(apart.gidIndex)]),
    // All times, too, before the table.
    ...(isLatency(run) ? ['-U'] : []),
  ];
  const env = {
    ...process.env,
    LD_PRELOAD: softwareHcaPath(),
    ...(run.remap ? { VIADUCT_REMAP: '1' } : {}),
    ...(apart === undefined ? {} : { VIADUCT_LINK_LAYER: 'ethernet' }),
  };
  let result: PerftestResult | undefined;
  const times: number[] = [];
  const side = (prefix: readonly string[], more: readonly string[]): Promise<void> => {
    const [command = '', ...words] = [...prefix, run.program, ...args, ...more];
    return runLines(run.program, command, words, {
      signal,
      env,
      onLine: (line) => {
        if (more.length === 0) return;
        const [, time] = /^\d+, ([\d.e-]+)$/.exec(line) ?? [];
        if (time === undefined) result = resultIn(run, line) ?? result;
        else times.push(Number(time));
      },
    });
  };
  const server = side([...(apart?.server ?? []), 'taskset', '-c', '0'], []);
  // The server says on its buffered output when it listens; perftest has no other sign.
  const client = sleep(300).then(() =>
    side(
      [...(apart?.client ?? []), 'taskset', '-c', '1'],
      [apart === undefined ? 'localhost' : apart.address],
    ),
  );
  await Promise.all([server, client]);
  if (result === undefined) throw new Error(`${run.program} printed no figure`);
  return isLatency(run) ? { ...result, figure: midmean(times) } : result;
}
