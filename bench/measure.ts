/** Goes through the plan: every run in its turn, with progress, to the samples of all of them. */
import { formatSize } from './format.js';
import type { RankResult, Sampled } from './measurement.js';
import type { Options } from './options.js';
import { runPeer } from './peers/peer.js';
import type { Peer } from './peers/peer.js';
import { planRuns } from './plan.js';
import type { PeerRun, RankRun, Step } from './plan.js';
import { Progress } from './progress.js';
import type { ProgressStream } from './progress.js';
import { runRanks } from './rank-run.js';

export interface MeasureOptions {
  readonly options: Options;
  readonly peers: readonly Peer[];
  readonly viaductVersion: string;
  readonly progress: ProgressStream;
  readonly signal: AbortSignal;
}

function placeOf(run: RankRun | PeerRun<Peer>): string {
  if (run.kind === 'peer') return run.peer.name;
  if (run.vm) return 'two virtual machines';
  return run.channel === undefined ? 'two host processes' : `two host processes by ${run.channel}`;
}

/** @throws Error of the first run that fails */
export async function measureAll({
  options,
  peers,
  viaductVersion,
  progress: stream,
  signal,
}: MeasureOptions): Promise<Sampled[]> {
  const runs = planRuns(options, peers);
  const resultsOf = (steps: readonly Step[]): number =>
    steps.reduce((sum, step) => sum + step.sizes.length, 0);
  const progress = new Progress(
    stream,
    runs.reduce((sum, run) => sum + resultsOf(run.steps), 0),
  );
  const sampled: Sampled[] = [];

  for (const run of runs) {
    const place = `round ${run.round + 1} of ${options.rounds}, ${placeOf(run)}`;
    let current: Step | undefined;
    progress.step(`${place}: starting`);
    const onResult = (result: RankResult): void => {
      const step = run.steps.find(
        ({ transport, benchmark }) =>
          transport === result.transport && benchmark === result.benchmark,
      );
      if (!step?.sizes.includes(result.sizeBytes)) {
        throw new Error(
          `${place} measured ${result.transport} ${result.benchmark} at ` +
            `${formatSize(result.sizeBytes)}, which nobody asked for`,
        );
      }
      if (step !== current) {
        progress.step(`${place}: ${step.benchmark}${step.transport === 'tcp' ? ' over TCP' : ''}`);
        current = step;
      }
      progress.result(result.sizeBytes);
      sampled.push({
        benchmark: step.benchmark,
        where: step.where,
        peer:
          run.kind === 'peer'
            ? run.peer.name
            : step.transport === 'tcp'
              ? `Node.js net ${process.versions.node}`
              : `viaduct ${viaductVersion}`,
        round: run.round,
        sizeBytes: result.sizeBytes,
        samples: result.samples,
      });
    };
    try {
      if (run.kind === 'ranks') await runRanks(run, options.samples, onResult, signal);
      else await runPeer(run, options.samples, onResult, signal);
    } finally {
      progress.clear();
    }
  }
  return sampled;
}
