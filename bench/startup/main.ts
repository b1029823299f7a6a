/** `npm run bench -- startup`: from the launcher's start to the first message, beside MPICH's launcher of empty programs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { packageRoot } from '../../lib/addon/index.js';
import { formatFigure, formatRatio } from '../format.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords } from '../options.js';
import { median } from '../statistics.js';

export const startupHelp = `Measures the start of a job: from the launcher's start until rank 0 has had a message of every other
rank, and beside it mpiexec.hydra from its start to its end with ranks that do nothing (node -e '').

Usage: npm run -s bench -- startup [options]

Options:
  --rounds N       every subject once in each; ratios are taken within a round (default: 5)
  --ranks N        the size of the large job (default: 64)
  --json FILE      write the machine and the figures of all rounds
  --help           this text
`;

/** No start takes longer, or something hangs. */
const LIMIT_MS = 60_000;
/** What users start, not the files that it is bundled from. */
const viaduct = join(packageRoot, 'dist/bundle/main.js');
const rank = fileURLToPath(new URL('rank.js', import.meta.url));
const node = process.execPath;

interface Subject {
  readonly name: string;
  readonly command: readonly string[];
  /** Whether it ends the measured time by `met`; else its end does. */
  readonly meets: boolean;
  /** What it aims at, as a multiple of the first subject's time. */
  readonly aim?: number;
}

const BASE = "mpiexec.hydra -n 2 node -e ''";

function subjects(ranks: number): Subject[] {
  const run = (size: number, ...options: string[]): string[] => {
    return [node, viaduct, 'run', '-n', `${size}`, ...options, '--', node, rank];
  };
  return [
    { name: BASE, command: ['mpiexec.hydra', '-n', '2', node, '-e', ''], meets: false },
    { name: 'viaduct run -n 2', command: run(2), meets: true, aim: 2 },
    { name: 'viaduct run -n 2 --threads', command: run(2, '--threads'), meets: true },
    { name: 'mpiexec.hydra -n 2', command: ['mpiexec.hydra', '-n', '2', node, rank], meets: true },
    { name: `viaduct run -n ${ranks}`, command: run(ranks), meets: true },
  ];
}

/** Milliseconds of one start; undefined where the launcher is not installed. */
async function measure(subject: Subject, signal: AbortSignal): Promise<number | undefined> {
  const [program = '', ...args] = subject.command;
  const startMs = performance.now();
  let metMs: number | undefined;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
  });
  // Not the option of spawn, whose timer outlives a program that is not there.
  const limit = setTimeout(() => child.kill(), LIMIT_MS);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('met')) metMs ??= performance.now() - startMs;
  });
  let ended: unknown[];
  try {
    ended = await once(child, 'close');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(limit);
  }
  if (ended[1] === 'SIGTERM') {
    throw new Error(`${subject.name} did not end within ${LIMIT_MS / 1000} s`);
  }
  if (ended[0] !== 0) throw new Error(`${subject.name} ended with status ${String(ended[0])}`);
  return subject.meets ? metMs : performance.now() - startMs;
}

type Round = Readonly<Record<string, number>>;

function tableLine({ name, aim }: Subject, rounds: readonly Round[]): string | undefined {
  const own = rounds.flatMap((round) => round[name] ?? []);
  if (own.length === 0) return undefined;
  const line = `${name.padEnd(30)} ${formatFigure(median(own)).padStart(8)} ms`;
  const ratios = rounds.flatMap((round) => {
    const [mine, base] = [round[name], round[BASE]];
    return mine === undefined || base === undefined || name === BASE ? [] : [mine / base];
  });
  if (ratios.length === 0) return line;
  const goal = aim === undefined ? '' : ` (aim: ≤ ${aim})`;
  return `${line}  ratio to the first ${formatRatio(median(ratios))}${goal}`;
}

/** @throws UsageError, or the failure of a launcher */
export async function runStartupBenchmark(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values: options } = parseWords({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      ranks: { type: 'string', default: '64' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (options.help === true) {
    process.stdout.write(startupHelp);
    return;
  }
  const roundCount = integer('--rounds', options.rounds, 1, 100);
  const chosen = subjects(integer('--ranks', options.ranks, 3, 512));
  const rounds: Round[] = [];
  for (let round = 0; round < roundCount; round++) {
    process.stderr.write(`round ${round + 1} of ${roundCount}\n`);
    const figures: Record<string, number> = {};
    for (const subject of chosen) {
      const milliseconds = await measure(subject, signal);
      if (milliseconds !== undefined) figures[subject.name] = milliseconds;
      else if (round === 0) {
        process.stderr.write(`${subject.name} is not measured: apt-get install mpich\n`);
      }
    }
    rounds.push(figures);
  }
  for (const subject of chosen) {
    const line = tableLine(subject, rounds);
    if (line !== undefined) process.stdout.write(`${line}\n`);
  }
  if (options.json !== undefined) {
    const machine = await describeMachine([]);
    await writeFile(options.json, `${JSON.stringify({ machine, rounds }, null, 2)}\n`);
  }
}
