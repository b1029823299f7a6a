/**
 * `npm run bench -- rxe`: the verbs on a device of a real kernel, JavaScript beside C, by the same provider of the
 * system's libibverbs. The device is Soft-RoCE, in two QEMU guests.
 */
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';

import { packageRoot } from '../../lib/addon/index.js';
import { type GuestProcess, VirtualLink } from '../../lib/vm/index.js';
import { compileProgram } from '../compile.js';
import { formatSize } from '../format.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords } from '../options.js';
import { type Figures, tableLine } from '../rounds.js';
import { median } from '../statistics.js';
import { bootGuest, type Guest, inGuest, RXE_DEVICE } from './guests.js';

export const rxeHelp = `Measures the verbs on the kernel's Soft-RoCE in QEMU guests, from JavaScript beside C, on the same
provider of the system's libibverbs: posting and polling in one guest, latency and bandwidth between two.

Usage: npm run -s bench -- rxe [options]

Options:
  --rounds N       every subject once in each; ratios are taken within a round (default: 3)
  --json FILE      write the machine and the figures of all rounds
  --help           this text
`;

const LANGUAGES = ['js', 'c'] as const;
type Language = (typeof LANGUAGES)[number];
type Commands = Readonly<Record<Language, readonly string[]>>;

/** Few, for what takes a microsecond elsewhere may take a millisecond here. */
const LOOPBACK_ROUNDS = 1000;
const SAMPLES = 3;
const EXCHANGES = [
  { what: 'latency', sizeBytes: 8, iterations: 100, unit: 'µs' },
  { what: 'latency', sizeBytes: 4096, iterations: 100, unit: 'µs' },
  { what: 'bandwidth', sizeBytes: 2 ** 16, iterations: 64, unit: 'MB/s' },
] as const;
type Exchange = (typeof EXCHANGES)[number];

interface Subject {
  readonly what: string;
  readonly unit: string;
  readonly measure: (language: Language) => Promise<number>;
}

/** The program of this name in both languages; they are the same request by request. */
async function commandsOf(name: 'loopback' | 'exchange'): Promise<Commands> {
  const script = `${packageRoot}/dist/bench/verbs/${name}.js`;
  return {
    js: [process.execPath, script],
    c: [await compileProgram('verbs', name, ['-libverbs'])],
  };
}

/** What posting and polling costs in a guest, in ns a request. */
async function measureLoopback(
  guest: Guest,
  command: readonly string[],
  figure: 'single' | 'batch',
): Promise<number> {
  const args = [SAMPLES, LOOPBACK_ROUNDS, RXE_DEVICE];
  const output = await inGuest(guest, [...command, ...args].join(' '));
  const samples = output.trim().split('\n');
  return median(samples.map((line) => (JSON.parse(line) as Record<string, number>)[figure] ?? NaN));
}

/** A program of one end, by its lines. */
class End {
  readonly #process: GuestProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  #complaint = '';

  constructor({ vm }: Guest, command: readonly string[]) {
    const [program = '', ...args] = command;
    this.#process = vm.spawn(program, args, { timeoutMs: 300_000 });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint += text;
    });
    this.#name = `${basename(command[1] ?? program)} in VM ${vm.name}`;
    // Of a command that is lost, the lines say so.
    this.#process.exited.catch(() => {});
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  say(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  async hear(): Promise<string> {
    const { done, value } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    if (done !== true) return value;
    const { exitCode, signal } = await this.#process.exited;
    throw new Error(`${this.#name} ended with ${signal ?? exitCode}: ${this.#complaint}`);
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    await this.#process.exited;
  }
}

/** @returns one sample after the other, µs one way or MB/s */
async function measureExchange(
  guests: readonly [Guest, Guest],
  command: readonly string[],
  { what, sizeBytes, iterations }: Exchange,
): Promise<number> {
  const args = [what, sizeBytes, iterations, SAMPLES, RXE_DEVICE].map(String);
  const first = new End(guests[0], [...command, 'first', ...args]);
  const second = new End(guests[1], [...command, 'second', ...args]);
  const lines = [await first.hear(), await second.hear()];
  first.say(lines[1] ?? '');
  second.say(lines[0] ?? '');
  for (const end of [first, second]) {
    const word = await end.hear();
    if (word !== 'ready')
      throw new Error(`an end of an exchange said '${word}', not that it is ready`);
  }
  second.say('go');
  first.say('go');
  const samples: string[] = [];
  while (samples.length < SAMPLES) samples.push(await first.hear());
  await Promise.all([first.end(), second.end()]);
  return median(samples.map(Number));
}

async function subjectsOf(guests: readonly [Guest, Guest]): Promise<Subject[]> {
  const loopback = await commandsOf('loopback');
  const exchange = await commandsOf('exchange');
  return [
    ...(['single', 'batch'] as const).map((figure) => ({
      what: figure === 'single' ? 'post + poll, one request' : 'post + poll, batches of 32',
      unit: 'µs',
      measure: async (language: Language) =>
        (await measureLoopback(guests[0], loopback[language], figure)) / 1e3,
    })),
    ...EXCHANGES.map((one) => ({
      what: `${one.what === 'latency' ? 'send' : 'write bandwidth'}, ${formatSize(one.sizeBytes)}`,
      unit: one.unit,
      measure: (language: Language) => measureExchange(guests, exchange[language], one),
    })),
  ];
}

const figureOf = ({ what }: Subject, language: Language): string => `${what}, ${language}`;

async function measureRound(
  subjects: readonly Subject[],
  onSubject: (what: string) => void,
  signal: AbortSignal,
): Promise<Figures> {
  const figures: Figures = {};
  for (const subject of subjects) {
    onSubject(subject.what);
    for (const language of LANGUAGES) {
      signal.throwIfAborted();
      figures[figureOf(subject, language)] = await subject.measure(language);
    }
  }
  return figures;
}

async function measureAll(
  rounds: number,
  signal: AbortSignal,
): Promise<{ subjects: Subject[]; measured: Figures[] }> {
  using link = VirtualLink.create(2);
  const booting = [bootGuest(link.ends[0], 1), bootGuest(link.ends[1], 2)] as const;
  const endAll = async (): Promise<void> => {
    for (const each of await Promise.allSettled(booting)) {
      if (each.status === 'fulfilled') await each.value.vm.kill();
    }
  };
  const onAbort = (): void => void endAll();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    process.stderr.write('booting two virtual machines\n');
    const subjects = await subjectsOf(await Promise.all(booting));
    const measured: Figures[] = [];
    for (let round = 0; round < rounds; round++) {
      const say = (what: string): void => {
        process.stderr.write(`round ${round + 1} of ${rounds}: ${what}\n`);
      };
      measured.push(await measureRound(subjects, say, signal));
    }
    return { subjects, measured };
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    await endAll();
  }
}

/** @throws UsageError, VmError, or the failure of a program that it runs */
export async function runRxeBenchmark(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { values } = parseWords({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(rxeHelp);
    return;
  }
  const rounds = integer('--rounds', values.rounds, 1, 100);
  const { subjects, measured } = await measureAll(rounds, signal);
  for (const subject of subjects) {
    const row = {
      ...{ what: subject.what, unit: subject.unit, figure: figureOf(subject, 'js') },
      beside: { what: 'C', figure: figureOf(subject, 'c') },
    };
    process.stdout.write(tableLine(row, measured));
  }
  if (values.json === undefined) return;
  const report = { machine: await describeMachine([]), rounds: measured };
  await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
}
