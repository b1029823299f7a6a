/**
 * The program of each rank: `viaduct run -n 2 -- node dist/bench/ranks/main.js --samples 5 mpi,latency,0,8`.
 * An argument is a step: transport, benchmark, sizes. Rank 0 prints one JSON line for each size; nothing
 * is written to a file, for in a VM the host's files are read-only.
 */
import { parseArgs } from 'node:util';

import { init } from 'viaduct/mpi';

import { MpiBandwidth } from './bandwidth.js';
import { MpiLatency } from './latency.js';
import { seedOf } from './payload.js';
import { measureSize, warmUpCompiler } from './sampling.js';
import type { Exchange } from './sampling.js';
import { TcpBandwidth } from './tcp-bandwidth.js';
import { TcpLatency } from './tcp-latency.js';
import { TcpStream } from './tcp-stream.js';

interface Step {
  readonly transport: string;
  readonly benchmark: string;
  readonly sizes: readonly number[];
}

async function measure(
  rank: number,
  { transport, benchmark, sizes }: Step,
  exchange: Exchange,
  samples: number,
): Promise<void> {
  await warmUpCompiler(exchange, sizes);
  for (const sizeBytes of sizes) {
    const result = await measureSize(exchange, sizeBytes, samples, (sample) =>
      seedOf(sizeBytes, sample, 0),
    );
    if (rank === 0) console.log(JSON.stringify({ transport, benchmark, ...result }));
  }
}

async function measureMpi(steps: readonly Step[], samples: number): Promise<void> {
  if (steps.length === 0) return;
  const job = await init();
  const { world } = job;
  if (world.size !== 2) throw new Error(`needs 2 ranks, not ${world.size}`);
  for (const step of steps) {
    const exchange =
      step.benchmark === 'latency'
        ? new MpiLatency(world, Math.max(...step.sizes))
        : new MpiBandwidth(world, step.sizes);
    await measure(world.rank, step, exchange, samples);
  }
  await job.finalize();
}

async function measureTcp(steps: readonly Step[], samples: number, port: number): Promise<void> {
  if (steps.length === 0) return;
  const rank = Number(process.env['VIADUCT_RANK']);
  const addresses = (process.env['VIADUCT_NETWORK_ADDRESSES'] ?? '').split(',');
  const stream = await TcpStream.between(rank, addresses, port);
  for (const step of steps) {
    const exchange =
      step.benchmark === 'latency' ? new TcpLatency(stream, rank) : new TcpBandwidth(stream, rank);
    await measure(rank, step, exchange, samples);
  }
  stream.close();
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { samples: { type: 'string' }, port: { type: 'string' } },
});
const steps = positionals.map((argument): Step => {
  const [transport = '', benchmark = '', ...sizes] = argument.split(',');
  return { transport, benchmark, sizes: sizes.map(Number) };
});
const samples = Number(values.samples);
await measureMpi(
  steps.filter((step) => step.transport === 'mpi'),
  samples,
);
await measureTcp(
  steps.filter((step) => step.transport === 'tcp'),
  samples,
  Number(values.port),
);
