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
/** At most so many samples' worth of warm-up for each size. */
const mostWarmUpSamples = 10;

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

/**
 * Runs samples that do not count until some in a row are no faster than those before them: the compiler goes on for thousands of
 * iterations after the first sample's worth, since its threads share the rank's core.
 */
async function warmUp(
  exchange: Exchange,
  iterations: number,
  mostSamples: number,
  patience: number,
): Promise<void> {
  let best = Infinity;
  let inVain = 0;
  for (let sample = 0; sample < mostSamples && inVain < patience; sample++) {
    const elapsedMs = await timeMs(exchange, iterations);
    inVain = (await exchange.agree(elapsedMs > best * 0.95 ? 1 : 0)) === 1 ? inVain + 1 : 0;
    best = Math.min(best, elapsedMs);
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
  const most = sizeBytes > largeAboveBytes ? large : small;
  await warmUp(exchange, await calibrate(exchange, most), mostWarmUpSamples, 3);
  // Again, now that an iteration takes as long as it will.
  const iterations = await calibrate(exchange, most);
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

const warmUpSamplesOfProcess = 50;

/**
 * Brings the compiled code to its final state before the first sample, which would otherwise measure the compiler at
 * work: for each way that a message can travel (in a cell, in slots, announced and fetched) up to a second of samples
 * that do not count.
 */
export async function warmUpCompiler(exchange: Exchange, sizes: readonly number[]): Promise<void> {
  const representatives = [
    sizes.findLast((size) => size <= 40),
    sizes.findLast((size) => size > 40 && size <= 16384),
    sizes.find((size) => size > 16384),
  ];
  for (const sizeBytes of representatives) {
    if (sizeBytes === undefined) continue;
    const { small, large } = exchange.mostIterations;
    const most = sizeBytes > largeAboveBytes ? large : small;
    exchange.prepare(sizeBytes, 0);
    await warmUp(exchange, await calibrate(exchange, most), warmUpSamplesOfProcess, 10);
  }
}
