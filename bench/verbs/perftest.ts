/** perftest's programs, unmodified, between two processes on the software HCA. */
import { spawnSync } from 'node:child_process';

import { softwareHcaPath } from '../../lib/verbs/index.js';
import { runLines } from '../process-lines.js';

export interface PerftestRun {
  readonly program: 'ib_write_lat' | 'ib_send_lat' | 'ib_write_bw';
  readonly sizeBytes: number;
  readonly iterations: number;
  /** Whether registered memory moves where peers can map it. */
  readonly remap: boolean;
}

export function perftestMissing(): boolean {
  return spawnSync('ib_write_lat', ['--version']).error !== undefined;
}

let port = 21_000 + (process.pid % 10_000);

/** Of latency programs the typical time in µs, the fourth column; of bandwidth the average, in MB/s of 10^6 bytes. */
function figureIn(run: PerftestRun, line: string): number | undefined {
  const columns = line.trim().split(/\s+/);
  if (Number(columns[0]) !== run.sizeBytes || columns.length < 5) return undefined;
  return run.program === 'ib_write_bw' ? Number(columns[3]) * 1.048576 : Number(columns[4]);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

/** @returns µs, or MB/s */
export async function runPerftest(run: PerftestRun, signal: AbortSignal): Promise<number> {
  port += 1;
  const args = [
    '-s',
    String(run.sizeBytes),
    '-n',
    String(run.iterations),
    '-p',
    String(port),
    '-F',
  ];
  const env = {
    ...process.env,
    LD_PRELOAD: softwareHcaPath(),
    ...(run.remap ? { VIADUCT_REMAP: '1' } : {}),
  };
  let figure: number | undefined;
  const side = (cpu: string, more: readonly string[]): Promise<void> =>
    runLines(run.program, 'taskset', ['-c', cpu, run.program, ...args, ...more], {
      signal,
      env,
      onLine: (line) => {
        if (more.length > 0) figure = figureIn(run, line) ?? figure;
      },
    });
  const server = side('0', []);
  // The server says on its buffered output when it listens; perftest has no other sign.
  const client = sleep(300).then(() => side('1', ['localhost']));
  await Promise.all([server, client]);
  if (figure === undefined) throw new Error(`${run.program} printed no figure`);
  return figure;
}
