/** `npm run bench -- verbs`: what the verbs cost, from JavaScript beside C, and on the software HCA beside the floor. */
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

import { packageRoot } from '../../lib/addon/index.js';
import { softwareHcaPath } from '../../lib/verbs/index.js';
import { compileProgram } from '../compile.js';
import { formatFigure } from '../format.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords, UsageError } from '../options.js';
import { findPeers, runPeer } from '../peers/peer.js';
import { runLines } from '../process-lines.js';
import { type Figures, type Row, tableLine, valuesOf } from '../rounds.js';
import { median } from '../statistics.js';
import { perftestMissing, type PerftestRun, runPerftest } from './perftest.js';

export const verbsHelp = `Measures the verbs: posting and polling from JavaScript beside C, and perftest's programs on the
software HCA beside what nothing can be faster than, MPICH and Open MPI.

Usage: npm run -s bench -- verbs [options]

Options:
  --rounds N         every subject once in each; ratios are taken within a round (default: 5)
  --registrations N  so often memory is registered and deregistered, to see what stays (default: 100000)
  --json FILE        write the machine, the rounds and their figures
  --help             this text
`;

const ROWS: readonly Row[] = [
  {
    what: 'post + poll, one request',
    unit: 'ns',
    figure: 'jsSingle',
    beside: { what: 'C', figure: 'cSingle' },
    aim: { kind: 'difference', text: '≤ 80 ns more' },
  },
  {
    what: 'post + poll, batches of 32',
    unit: 'ns',
    figure: 'jsBatch',
    beside: { what: 'C', figure: 'cBatch' },
    aim: { kind: 'difference', text: '≤ 15 ns more' },
  },
  {
    what: 'ib_write_lat 8 B, direct',
    unit: 'µs',
    figure: 'writeLatency',
    beside: { what: 'cache-line hand-off', figure: 'handOff' },
    aim: { kind: 'ratio', text: '≤ 1.5' },
  },
  {
    what: 'ib_send_lat 8 B, direct',
    unit: 'µs',
    figure: 'sendLatency',
    aim: { kind: 'ratio', text: '≤ 0.25 µs' },
  },
  {
    what: 'ib_write_bw 1 MiB, direct',
    unit: 'MB/s',
    figure: 'directBandwidth',
    beside: { what: 'memcpy', figure: 'memcpy' },
    aim: { kind: 'ratio', text: '≥ 0.95' },
  },
  {
    what: 'ib_write_bw 1 MiB, copy',
    unit: 'MB/s',
    figure: 'copyBandwidth',
    beside: { what: 'process_vm_writev', figure: 'processCopy' },
    aim: { kind: 'ratio', text: '≥ 0.95' },
  },
];

/** Every sample that a program of ours printed, for the JSON file. */
const rawSamples: { readonly command: string; readonly lines: readonly Figures[] }[] = [];

async function collect(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
  env?: NodeJS.ProcessEnv,
): Promise<Figures> {
  const lines: Figures[] = [];
  rawSamples.push({ command: [command, ...args].map((word) => basename(word)).join(' '), lines });
  await runLines(command, command, args, {
    signal,
    ...(env === undefined ? {} : { env }),
    onLine: (line) => void lines.push(JSON.parse(line) as Figures),
  });
  const names = Object.keys(lines[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, median(lines.map((line) => line[name] ?? NaN))]),
  );
}

const PERFTEST: Readonly<Record<string, PerftestRun>> = {
  writeLatency: { program: 'ib_write_lat', sizeBytes: 8, iterations: 200_000, remap: true },
  sendLatency: { program: 'ib_send_lat', sizeBytes: 8, iterations: 200_000, remap: true },
  directBandwidth: { program: 'ib_write_bw', sizeBytes: 2 ** 20, iterations: 20_000, remap: true },
  copyBandwidth: { program: 'ib_write_bw', sizeBytes: 2 ** 20, iterations: 10_000, remap: false },
};

interface Programs {
  readonly loopback: string;
  readonly floors: string;
  readonly registration: string;
}

async function compilePrograms(): Promise<Programs> {
  return {
    loopback: await compileProgram('verbs', 'loopback', ['-libverbs']),
    floors: await compileProgram('verbs', 'floors'),
    registration: await compileProgram('verbs', 'registration', ['-libverbs']),
  };
}

async function measureRound(
  programs: Programs,
  withPerftest: boolean,
  signal: AbortSignal,
): Promise<Figures> {
  const preload = { ...process.env, LD_PRELOAD: softwareHcaPath() };
  const script = `${packageRoot}/dist/bench/verbs/loopback.js`;
  const js = await collect('taskset', ['-c', '0,1', process.execPath, script], signal);
  const c = await collect('taskset', ['-c', '0', programs.loopback, '5'], signal, preload);
  const floors = await collect(programs.floors, ['5'], signal);
  const figures: Figures = {
    jsSingle: js['single'] ?? NaN,
    jsBatch: js['batch'] ?? NaN,
    cSingle: c['single'] ?? NaN,
    cBatch: c['batch'] ?? NaN,
    handOff: (floors['handOff'] ?? NaN) / 1e3,
    memcpy: floors['memcpy'] ?? NaN,
    processCopy: floors['processCopy'] ?? NaN,
  };
  if (!withPerftest) return figures;
  for (const [name, run] of Object.entries(PERFTEST)) {
    figures[name] = (await runPerftest(run, signal)).figure;
  }
  return figures;
}

/** Whether registering leaves anything behind, with memory as it is and remapped. */
async function measureRegistration(
  programs: Programs,
  cycles: number,
  signal: AbortSignal,
): Promise<Record<string, Figures>> {
  const found: Record<string, Figures> = {};
  for (const [way, remap] of Object.entries({ 'as it is': '0', remapped: '1' })) {
    const env = { ...process.env, LD_PRELOAD: softwareHcaPath(), VIADUCT_REMAP: remap };
    found[way] = await collect(programs.registration, [String(cycles)], signal, env);
  }
  return found;
}

function registrationLine(way: string, cycles: number, figures: Figures): string {
  const { ns = NaN, grownKib = NaN, grownMappings = NaN, grownDescriptors = NaN } = figures;
  return (
    `${`register 16 KiB, ${way}`.padEnd(28)} ${formatFigure(ns / 1e3).padStart(9)} µs    and deregister; ` +
    `${cycles} times grew the process by ${grownKib} KiB, ${grownMappings} mappings, ${grownDescriptors} descriptors\n`
  );
}

async function measurePeers(signal: AbortSignal): Promise<{ figures: Figures; missing: string[] }> {
  const { peers, missing } = await findPeers();
  const figures: Figures = {};
  for (const peer of peers) {
    const steps = (['latency', 'bandwidth'] as const).map((benchmark) => ({
      transport: 'mpi' as const,
      where: 'native' as const,
      benchmark,
      sizes: [benchmark === 'latency' ? 8 : 2 ** 20],
    }));
    await runPeer(
      { kind: 'peer', round: 0, peer, steps },
      5,
      ({ benchmark, samples }) => {
        figures[`${peer.name} ${benchmark}`] = median(samples);
      },
      signal,
    );
  }
  return { figures, missing };
}

/** @throws UsageError, or the failure of a program that it runs */
export async function runVerbsBenchmark(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values } = parseWords({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      registrations: { type: 'string', default: '100000' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(verbsHelp);
    return;
  }
  const rounds = integer('--rounds', values.rounds, 1, 100);
  const cycles = Number(values.registrations);
  if (!(Number.isSafeInteger(cycles) && cycles > 0)) {
    throw new UsageError(
      `--registrations takes a whole number from 1, not '${values.registrations}'`,
    );
  }
  const programs = await compilePrograms();
  const withPerftest = !perftestMissing();
  if (!withPerftest) {
    process.stderr.write('perftest is not measured: it is missing; apt-get install perftest\n');
  }
  const measured: Figures[] = [];
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
    const peers = await measurePeers(signal);
    if (round === 0) for (const sentence of peers.missing) process.stderr.write(`${sentence}\n`);
    measured.push({ ...(await measureRound(programs, withPerftest, signal)), ...peers.figures });
  }
  const registration = await measureRegistration(programs, cycles, signal);
  for (const row of ROWS) process.stdout.write(tableLine(row, measured));
  for (const name of Object.keys(measured[0] ?? {}).filter((each) => each.includes(' '))) {
    const unit = name.endsWith('latency') ? 'µs at 8 B' : 'MB/s at 1 MiB';
    const figure = formatFigure(median(valuesOf(measured, name)));
    process.stdout.write(`${name.padEnd(28)} ${figure.padStart(9)} ${unit}\n`);
  }
  for (const [way, figures] of Object.entries(registration)) {
    process.stdout.write(registrationLine(way, cycles, figures));
  }
  if (values.json !== undefined) {
    const machine = await describeMachine([]);
    await writeFile(
      values.json,
      `${JSON.stringify({ machine, rounds: measured, registration, rawSamples }, null, 2)}\n`,
    );
  }
}
