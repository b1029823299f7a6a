/** The records that benchmarks make: what one run sampled, and what a table or a JSON file shows of it. */

export const benchmarks = ['latency', 'bandwidth'] as const;
export type Benchmark = (typeof benchmarks)[number];

/** Host processes over MPI, the same by its verbs channel; two VMs over MPI past the VMM; two VMs over TCP; host processes over TCP. */
export const wheres = ['native', 'verbs', 'vm', 'vm-tcp', 'tcp'] as const;
export type Where = (typeof wheres)[number];

export const unitOf: Readonly<Record<Benchmark, 'us' | 'MB/s'>> = {
  latency: 'us',
  bandwidth: 'MB/s',
};

/** What was measured: which places the messages went between, and whose code moved them. */
export interface Subject {
  readonly where: Where;
  /** Name and version of the library that carried the messages: `viaduct 0.1.0`, `MPICH 4.0.2`. */
  readonly peer: string;
}

/** One run's samples of one size: µs one way, or MB/s of 10^6 bytes. */
export interface Sampled extends Subject {
  readonly benchmark: Benchmark;
  /** Runs of one round stand beside each other in time; ratios are taken within a round. */
  readonly round: number;
  readonly sizeBytes: number;
  readonly samples: readonly number[];
}

/** One row of a `--json` file: all rounds of one size together. */
export interface Measurement extends Subject {
  readonly benchmark: Benchmark;
  readonly sizeBytes: number;
  readonly unit: 'us' | 'MB/s';
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
}

/** One line of a rank program's output. */
export interface RankResult {
  readonly transport: 'mpi' | 'tcp';
  readonly benchmark: Benchmark;
  readonly sizeBytes: number;
  readonly iterations: number;
  readonly samples: readonly number[];
}

function isRankResult(value: unknown): value is RankResult {
  if (typeof value !== 'object' || value === null) return false;
  const { transport, benchmark, sizeBytes, iterations, samples } = value as Record<string, unknown>;
  return (
    (transport === 'mpi' || transport === 'tcp') &&
    benchmarks.some((name) => name === benchmark) &&
    Number.isSafeInteger(sizeBytes) &&
    Number.isSafeInteger(iterations) &&
    Array.isArray(samples) &&
    samples.length > 0 &&
    samples.every((sample) => typeof sample === 'number' && Number.isFinite(sample) && sample > 0)
  );
}

/** @throws Error that quotes the line when it is not a result. */
export function parseRankResult(line: string): RankResult {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new Error(`a rank printed something that is not a result: ${line}`, { cause });
  }
  if (!isRankResult(value)) throw new Error(`a rank printed a result that makes no sense: ${line}`);
  return value;
}
