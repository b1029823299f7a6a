/** `npm run bench -- regcache`: what the registration cache saves, on the host and where calls of the kernel are dearer. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { packageRoot } from '../../lib/addon/index.js';
import { VirtualMachine, VmError, type DriverName } from '../../lib/vm/index.js';
import { formatFigure, formatRatio, formatSize } from '../format.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords, UsageError } from '../options.js';
import { median } from '../statistics.js';

const execute = promisify(execFile);

export const regcacheHelp = `Measures transfers by how their memory comes to be registered, on the host and in virtual machines.

Usage: npm run -s bench -- regcache [options]

  registered   once, before: no cache is asked
  cached       by the registration cache, which has it
  uncached     before each transfer, and deregistered after it
  fresh        by the cache, but in buffers that it doesn't have

Options:
  --where LIST     of native, uml, qemu (default: all)
  --rounds N       every way once in each, at each size; ratios are taken within a round (default: 5)
  --json FILE      write the machine and the samples, in µs
  --help           this text
`;

const PLACES = ['native', 'uml', 'qemu'] as const;
type Place = (typeof PLACES)[number];

const SIZES: readonly number[] = [4, 16, 64, 256, 1024, 4096].map((kibi) => kibi * 1024);

/** One size in one round. */
interface Sample {
  readonly where: Place;
  readonly sizeBytes: number;
  readonly round: number;
  /** µs a transfer. */
  readonly ways: Readonly<Record<'registered' | 'cached' | 'uncached' | 'fresh', number>>;
}

const program = join(packageRoot, 'dist', 'bench', 'regcache', 'transfers.js');

async function runIn(
  driver: DriverName,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const vm = await VirtualMachine.boot({ driver, timeoutMs: 120_000, signal });
  try {
    return (await vm.exec(process.execPath, args, { signal })).stdout;
  } finally {
    await vm.kill();
  }
}

async function measure(where: Place, rounds: number, signal: AbortSignal): Promise<Sample[]> {
  const args = [program, String(rounds), ...SIZES.map(String)];
  const text =
    where === 'native'
      ? (await execute(process.execPath, args, { signal })).stdout
      : await runIn(where, args, signal);
  const lines = text.trim().split('\n');
  return lines.map((line) => ({ where, ...(JSON.parse(line) as Omit<Sample, 'where'>) }));
}

function tableLine(samples: readonly Sample[]): string {
  const [{ where, sizeBytes } = { where: '', sizeBytes: 0 }] = samples;
  type Way = keyof Sample['ways'];
  const figure = (way: Way): string =>
    formatFigure(median(samples.map(({ ways }) => ways[way]))).padStart(10);
  const ratio = (over: Way, under: Way): string =>
    formatRatio(median(samples.map(({ ways }) => ways[over] / ways[under]))).padStart(11);
  return (
    `${where.padEnd(7)} ${formatSize(sizeBytes).padStart(8)} ${figure('registered')} ${figure('cached')} ` +
    `${figure('uncached')} ${figure('fresh')} ${ratio('cached', 'registered')} ${ratio('uncached', 'cached')} ` +
    `${ratio('fresh', 'uncached')}\n`
  );
}

const HEADING =
  'µs a transfer                                                    cached/    uncached/      fresh/\n' +
  'where       size registered     cached   uncached      fresh  registered      cached    uncached\n';

/** @throws UsageError, VmError, or the failure of a program that it runs */
export async function runRegcacheBenchmark(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values } = parseWords({
    args: [...args],
    options: {
      where: { type: 'string', default: PLACES.join(',') },
      rounds: { type: 'string', default: '5' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(regcacheHelp);
    return;
  }
  const rounds = integer('--rounds', values.rounds, 1, 100);
  const wanted = values.where.split(',');
  const unknown = wanted.find((name) => !PLACES.some((place) => place === name));
  if (unknown !== undefined) {
    throw new UsageError(`--where takes a list of ${PLACES.join(', ')}, not '${unknown}'`);
  }
  // A file that can't be written should not be found out after minutes of measuring.
  if (values.json !== undefined) await writeFile(values.json, '{}\n');
  const samples: Sample[] = [];
  for (const where of PLACES.filter((place) => wanted.includes(place))) {
    process.stderr.write(`${where}\n`);
    try {
      samples.push(...(await measure(where, rounds, signal)));
    } catch (error) {
      if (!(error instanceof VmError && error.code === 'ERR_VM_DRIVER')) throw error;
      process.stderr.write(`${where} is not measured: ${error.message}\n`);
    }
  }
  process.stdout.write(HEADING);
  for (const where of PLACES) {
    for (const sizeBytes of SIZES) {
      const own = samples.filter((each) => each.where === where && each.sizeBytes === sizeBytes);
      if (own.length > 0) process.stdout.write(tableLine(own));
    }
  }
  if (values.json !== undefined) {
    const machine = await describeMachine([]);
    await writeFile(values.json, `${JSON.stringify({ machine, samples }, null, 2)}\n`);
  }
}
