/** How every benchmark samples a size: a checked exchange, warm-up, then samples of some milliseconds. */

type Awaitable<T> = T | Promise<T>;

/** What one benchmark does over one transport; both ranks make the same calls in the same order. */
export interface Exchange {
  readonly mostIterations: { readonly small: number; readonly large: number };
  /** Moves messages that all differ, and throws unless every byte of them arrives. */
  check(sizeBytes: number): Awaitable<void>;
  /** Makes ready to send the pattern of this seed, and clears where it will arrive. */
  prepare(sizeBytes: number, seed: number): void;
  /** Runs the timed loop. */
  run(iterations: number): Awaitable<void>;
  /** Throws unless the last message that arrived is the pattern of this seed. */
  verify(seed: number): void;
  /** µs or MB/s. */
  figure(iterations: number, elapsedMs: number): number;
  barrier(): Awaitable<void>;
  /** Rank 0's number, on both ranks. */
  agree(count: number): Awaitable<number>;
}

export interface SizeResult {
  readonly sizeBytes: number;
  readonly iterations: number;
  readonly samples: number[];
}

/** A sample lasts so long unless its iterations are used up before: reading a VM's clock takes 20 µs. */
const sampleMs = 20;
const largeAboveBytes = 8192;

async function timeMs(exchange: Exchange, iterations: number): Promise<number> {
  const startMs = performance.now();
  const running = exchange.run(iterations);
  // Awaiting what is no promise would put a turn of the event loop into the time.
  if (running) await running;
  return performance.now() - startMs;
}

/**
 * Warms up with 1, 2, 4… iterations until that takes half a sample's time; returns how many make one.
 * What seems slow is tried again, for it may only have been interrupted.
 */
async function calibrate(exchange: Exchange, most: number): Promise<number> {
  let count = 1;
  for (;;) {
    let elapsedMs = await timeMs(exchange, count);
    const slow = (await exchange.agree(elapsedMs >= sampleMs / 2 ? 1 : 0)) === 1;
    if (slow) elapsedMs = Math.min(elapsedMs, await timeMs(exchange, count));
    if ((await exchange.agree(elapsedMs >= sampleMs / 2 || count >= most ? 1 : 0)) === 1) {
      const wanted = Math.floor((sampleMs / Math.max(elapsedMs, 1e-3)) * count);
      return exchange.agree(Math.min(most, Math.max(1, wanted)));
    }
    count = Math.min(most, count * 2);
  }
}

export async function measureSize(
  exchange: Exchange,
  sizeBytes: number,
  samples: number,
  seedOfSample: (sample: number) => number,
): Promise<SizeResult> {
  const { small, large } = exchange.mostIterations;
  await exchange.check(sizeBytes);
  exchange.prepare(sizeBytes, seedOfSample(0));
  const iterations = await calibrate(exchange, sizeBytes > largeAboveBytes ? large : small);
  const figures: number[] = [];
  for (let sample = 1; sample <= samples; sample++) {
    const seed = seedOfSample(sample);
    exchange.prepare(sizeBytes, seed);
    await exchange.barrier();
    figures.push(exchange.figure(iterations, await timeMs(exchange, iterations)));
    exchange.verify(seed);
  }
  return { sizeBytes, iterations, samples: figures };
}

/**
 * Brings the compiled code to its final state before the first sample: the first size of a benchmark
 * would otherwise pay for the compiler.
 */
export async function warmUpCompiler(exchange: Exchange, sizeBytes: number): Promise<void> {
  for (let pass = 0; pass < 4; pass++) {
    exchange.prepare(sizeBytes, pass);
    await calibrate(exchange, exchange.mostIterations.small);
  }
}
