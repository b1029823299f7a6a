/** Who waits for whom: the report that tells why a job stands still. */
import { ANY_SOURCE, ANY_TAG } from './constants.js';

/** An operation that is not done. */
export interface PendingOperation {
  /** What the operation is. */
  readonly kind: 'send' | 'receive' | 'probe';
  /** Rank of the world, or `ANY_SOURCE`. */
  readonly peer: number;
  /** Its tag, or `ANY_TAG`. */
  readonly tag: number;
  /** Size of the buffer; 0 for probes. */
  readonly byteLength: number;
  /** Name of the communicator, as much as fits into 28 bytes. */
  readonly communicator: string;
  /** @internal */
  readonly context: number;
}

/** What one rank says of itself. */
export interface WaitState {
  /** `blocked`: asleep in a blocking call; `awaiting`: its event loop is asleep; `running`: neither. */
  readonly state: 'running' | 'blocked' | 'awaiting';
  /** @internal changes with each sleep */
  readonly sleeps: number;
  /** What it waits for, the first of it. */
  readonly operations: readonly PendingOperation[];
  /** How many operations are not listed. */
  readonly more: number;
}

/** Where ranks say what they wait for. */
export interface WaitBoard {
  publish(isBlocked: boolean, operations: readonly PendingOperation[]): void;
  retract(): void;
  read(rank: number): WaitState;
}

/** One rank in a report. */
export interface RankWait extends WaitState {
  /** Rank of the world. */
  readonly rank: number;
}

/**
 * Made by `Job.waitReport`; `String(report)` is text for people.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * if (world.rank === 1) world.probeSync(0, 7);
 * if (world.rank === 0) {
 *   while (job.waitReport().ranks[1].state !== 'blocked'); // until rank 1 has given up polling
 *   console.log(`${job.waitReport()}`.split('\n')[1]);
 *   // prints [0] rank 1 is blocked in a probe from rank 0, tag 7, communicator world
 *   world.sendSync(new Uint8Array(1), 1, 7);
 * }
 * if (world.rank === 1) world.recvSync(new Uint8Array(1), 0, 7);
 * ```
 */
export class WaitReport {
  /** Each rank of the world that shares memory with this one. */
  readonly ranks: readonly RankWait[];
  /**
   * Ranks each of which is blocked by the next, and the last by the first, so that none can ever go on; undefined if
   * there are none. A rank that could go on by another message than the next one's is not counted as blocked by it.
   */
  readonly cycle: readonly number[] | undefined;

  /** @internal */
  constructor(ranks: readonly RankWait[]) {
    this.ranks = ranks;
    this.cycle = findCycle(ranks);
  }

  /** A line for each rank. */
  toString(): string {
    const lines = this.ranks.map(
      (wait) => `rank ${wait.rank} ${describeState(wait)}${describeOperations(wait)}`,
    );
    if (this.cycle !== undefined) {
      const round = [...this.cycle, this.cycle[0]].map((rank) => `rank ${rank}`).join(' → ');
      lines.push(`deadlock: ${round}; each is blocked by the next`);
    }
    return lines.join('\n');
  }
}

function describeState({ state }: RankWait): string {
  switch (state) {
    case 'running':
      return 'runs';
    case 'blocked':
      return 'is blocked in';
    case 'awaiting':
      return 'awaits';
  }
}

function describeOperations({ state, operations, more }: RankWait): string {
  if (state === 'running') return '';
  const parts = operations.map((operation) => {
    const { kind, peer, tag, byteLength, communicator } = operation;
    const whom = peer === ANY_SOURCE ? 'any rank' : `rank ${peer}`;
    const what =
      kind === 'probe' ? '' : ` of ${kind === 'send' ? '' : 'up to '}${byteLength} bytes`;
    return (
      ` a ${kind}${what} ${kind === 'send' ? 'to' : 'from'} ${whom}, ` +
      `${tag === ANY_TAG ? 'any tag' : `tag ${tag}`}, communicator ${communicator}`
    );
  });
  if (more > 0) parts.push(` ${more} more`);
  return parts.length === 0 ? ' nothing of messages' : parts.join(';');
}

/** The one rank without which a rank can't go on: only then do others not help. */
function blockerOf({ state, operations, more }: RankWait): number | undefined {
  if (state !== 'blocked' || more > 0) return undefined;
  const [peer] = operations.map((operation) => operation.peer);
  return peer !== ANY_SOURCE && operations.every((operation) => operation.peer === peer)
    ? peer
    : undefined;
}

function findCycle(ranks: readonly RankWait[]): number[] | undefined {
  const blockers = new Map(ranks.map((wait) => [wait.rank, blockerOf(wait)]));
  for (const { rank } of ranks) {
    const path: number[] = [];
    let next: number | undefined = rank;
    while (next !== undefined && !path.includes(next)) {
      path.push(next);
      next = blockers.get(next);
    }
    if (next === rank) return path;
  }
  return undefined;
}
