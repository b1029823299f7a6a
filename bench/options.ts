/** The command line of the benchmarks. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

import { benchmarks, wheres } from './measurement.js';
import type { Benchmark, Where } from './measurement.js';

export interface Options {
  readonly benchmarks: readonly Benchmark[];
  readonly wheres: readonly Where[];
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** Samples of each size in one round. */
  readonly samples: number;
  readonly peers: boolean;
  readonly json: string | undefined;
  /** Folder for the JSON files and the HTML report. */
  readonly report: string | undefined;
}

/** The command was used wrongly: exit status 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(`${message}\nTry: npm run -s bench -- --help`);
    this.name = 'UsageError';
  }
}

export const maxSizeBytes = 16 * 2 ** 20;

/** 0, then the powers of two to 4 MiB. */
export const defaultSizes: readonly number[] = [
  0,
  ...Array.from({ length: 23 }, (_, exponent) => 2 ** exponent),
];

/** Where no places are named. */
const usualPlaces: readonly Where[] = wheres.filter((where) => where !== 'verbs');

const defaults = { rounds: 5, samples: 5 } as const;

export const help = `Measures message passing between two ranks, in the manner of the OSU micro-benchmarks.

Usage: npm run -s bench -- [latency] [bandwidth] [options]
       npm run -s bench -- verbs [options]                   see: npm run -s bench -- verbs --help
       npm run -s bench -- regcache [options]                see: npm run -s bench -- regcache --help
       npm run -s bench -- rxe [options]                     see: npm run -s bench -- rxe --help
       npm run -s bench -- vm [options]                      see: npm run -s bench -- vm --help
       npm run -s bench -- startup [options]                 see: npm run -s bench -- startup --help
       npm run -s bench -- wire [options]                    see: npm run -s bench -- wire --help

Benchmarks (if none is named: both, and the report in results/):
  latency           half the round trip of a ping-pong, in µs
  bandwidth         windows of 64 messages in one direction, in MB/s of 10^6 bytes; has no size of 0 bytes

Options:
  --where LIST      of ${wheres.join(', ')} (default: all but verbs)
                      native  two host processes over viaduct's MPI
                      verbs   the same by its verbs channel; VIADUCT_DEVICE and other variables choose how
                      vm      two virtual machines over viaduct's MPI, past the VMM
                      vm-tcp  the same two virtual machines over their virtual network, by Node's net
                      tcp     two host processes over the loopback interface, by Node's net
  --channel verbs   adds verbs to the places
  --sizes LIST      bytes, each from 0 to ${maxSizeBytes} (default: 0, 1, 2, 4, … 4194304)
  --rounds N        runs of native and of vm in turn; their ratio is taken within each round (default: ${defaults.rounds})
  --samples N       samples of each size in a round (default: ${defaults.samples})
  --peers           also C programs over MPICH and Open MPI, where Debian's packages of them are installed
  --json FILE       write an array of {benchmark, where, peer, sizeBytes, unit, median, min, max, samples}
  --report DIR      write latency.json, bandwidth.json, machine.json and report.html into this folder
                    (default where no benchmark is named: results)
  --help            this text

Examples:
  npm start                                                    everything, and results/report.html
  npm run bench:peers                                          the same beside MPICH and Open MPI
  npm run bench:peers -- latency --where native --channel verbs
  npm run -s bench -- latency --where native,vm --sizes 8,4096 --json latency.json

Exit status: 0 measured, 1 a run failed, 2 wrong usage, 128+n ended by signal n.
`;

function oneOf<T extends string>(what: string, name: string, known: readonly T[]): T {
  const found = known.find((one) => one === name);
  if (found === undefined) {
    throw new UsageError(`unknown ${what} '${name}'; there are ${known.join(', ')}`);
  }
  return found;
}

function list(option: string, text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.some((item) => item === '')) {
    throw new UsageError(`${option} takes a list with commas, not '${text}'`);
  }
  return [...new Set(items)];
}

/**
 * The number that an option was given.
 *
 * @throws UsageError that says what it takes
 */
export function integer(option: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most)) {
    throw new UsageError(`${option} takes whole numbers from ${least} to ${most}, not '${text}'`);
  }
  return value;
}

/**
 * As parseArgs of node:util.
 *
 * @throws UsageError with its complaint
 */
export function parseWords<const T extends ParseArgsConfig>(
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function rawOptions(args: readonly string[]) {
  return parseWords({
    args: [...args],
    allowPositionals: true,
    options: {
      where: { type: 'string' },
      sizes: { type: 'string' },
      channel: { type: 'string' },
      rounds: { type: 'string' },
      samples: { type: 'string' },
      peers: { type: 'boolean' },
      json: { type: 'string' },
      report: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

/**
 * @returns the options, or `'help'` when help is asked for
 * @throws UsageError for an unknown option, benchmark or place, or a value out of range
 */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const { values, positionals } = rawOptions(args);
  if (values.help) return 'help';
  const named = positionals.map((name) => oneOf('benchmark', name, benchmarks));
  const chosen = benchmarks.filter((name) => named.length === 0 || named.includes(name));
  const sizes =
    values.sizes === undefined
      ? defaultSizes
      : list('--sizes', values.sizes)
          .map((size) => integer('--sizes', size, 0, maxSizeBytes))
          .sort((a, b) => a - b);
  const places =
    values.where === undefined
      ? [...usualPlaces]
      : list('--where', values.where).map((name) => oneOf('place', name, wheres));
  if (values.channel !== undefined) places.push(oneOf('channel', values.channel, ['verbs']));
  if (!chosen.includes('latency') && !sizes.some((size) => size > 0)) {
    throw new UsageError('bandwidth needs a size of at least 1 byte');
  }
  const mpi = places.some((where) => !where.endsWith('tcp'));
  if (!mpi && !sizes.some((size) => size > 0)) {
    throw new UsageError('TCP needs a size of at least 1 byte');
  }
  if (values.peers && !places.includes('native')) {
    throw new UsageError('--peers measures beside native: add native to --where');
  }
  return {
    benchmarks: chosen,
    wheres: wheres.filter((where) => places.includes(where)),
    sizes: [...new Set(sizes)],
    rounds: integer('--rounds', values.rounds ?? String(defaults.rounds), 1, 100),
    samples: integer('--samples', values.samples ?? String(defaults.samples), 1, 1000),
    peers: values.peers ?? false,
    json: values.json,
    report: values.report ?? (named.length === 0 ? 'results' : undefined),
  };
}
