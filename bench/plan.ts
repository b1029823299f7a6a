/** What runs when: native and VM side by side in every round, TCP once, in the same processes and VMs. */
import type { Benchmark, Where } from './measurement.js';
import type { Options } from './options.js';

/** One benchmark over one transport within a run. */
export interface Step {
  readonly transport: 'mpi' | 'tcp';
  readonly benchmark: Benchmark;
  readonly where: Where;
  readonly sizes: readonly number[];
}

/** One job of two ranks, on the host or in VMs, that goes through its steps. */
export interface RankRun {
  readonly kind: 'ranks';
  readonly round: number;
  readonly vm: boolean;
  /** Undefined: as viaduct chooses. */
  readonly channel?: 'verbs';
  readonly steps: readonly Step[];
}

/** The C programs of one peer. */
export interface PeerRun<Peer> {
  readonly kind: 'peer';
  readonly round: number;
  readonly peer: Peer;
  readonly steps: readonly Step[];
}

function stepsOf(options: Options, where: Where): Step[] {
  const transport = where.endsWith('tcp') ? 'tcp' : 'mpi';
  return options.benchmarks.flatMap((benchmark) => {
    // A stream has no empty messages, and empty messages have no bandwidth.
    const sizes = options.sizes.filter(
      (size) => size > 0 || (transport === 'mpi' && benchmark === 'latency'),
    );
    return sizes.length > 0 && options.wheres.includes(where)
      ? [{ transport, benchmark, where, sizes }]
      : [];
  });
}

/**
 * The runs in order. Each round has every subject of a ratio once, in turn forwards and backwards, so
 * that a drift of the machine's speed falls on both sides alike. TCP is slow, and needed for the picture
 * more than for a ratio near 1: it is measured in the first round only.
 */
export function planRuns<Peer>(
  options: Options,
  peers: readonly Peer[],
): (RankRun | PeerRun<Peer>)[] {
  return Array.from({ length: options.rounds }, (_, round) => {
    const tcp = (where: Where): Step[] => (round === 0 ? stepsOf(options, where) : []);
    const inTurn: (RankRun | PeerRun<Peer>)[] = [
      {
        kind: 'ranks',
        round,
        vm: true,
        steps: [...stepsOf(options, 'vm'), ...tcp('vm-tcp')],
      },
      {
        kind: 'ranks',
        round,
        vm: false,
        steps: [...stepsOf(options, 'native'), ...tcp('tcp')],
      },
      { kind: 'ranks', round, vm: false, channel: 'verbs', steps: stepsOf(options, 'verbs') },
      ...peers.map((peer): PeerRun<Peer> => ({
        kind: 'peer',
        round,
        peer,
        steps: stepsOf(options, 'native'),
      })),
    ];
    const runs = inTurn.filter((run) => run.steps.length > 0);
    return round % 2 === 0 ? runs : runs.reverse();
  }).flat();
}
