/** What the requests of one communicator have in common: its ranks, its contexts and its error handler. */
import type { Peer } from './channels/channel.js';
import type { Engine } from './engine.js';
import { type ErrorHandler, MpiError, revoked } from './errors.js';
import type { Group } from './group.js';
import type { RequestScope } from './request.js';

/** Contexts of a communicator: its messages, and what it says behind them. */
export const COLLECTIVE = 1;
/** Large binary parts of objects. */
export const PARTS = 2;
/** What makes new communicators when not all ranks take part. */
export const CREATION = 3;
export const CONTEXTS_EACH = 4;

/** Rounds that one collective operation may have. */
const ROUNDS = 64;

export class Scope implements RequestScope {
  readonly engine: Engine;
  readonly context: number;
  /** Those whom messages go to and come from. */
  readonly members: Group;
  /** This process's rank in its own group, which is `members` but in an intercommunicator. */
  readonly rank: number;
  /** The way to each member. */
  readonly peers: readonly Peer[];
  name: string;
  errorHandler: ErrorHandler = 'throw';
  lastError: MpiError | undefined = undefined;
  isFreed = false;
  isRevoked = false;
  /** Told when no more operations may begin. */
  onRevoked: () => void = () => undefined;
  /** Ranks here that failed, and that receives from any rank go on without. */
  readonly acknowledged = new Set<number>();
  readonly #ranks: Int32Array;
  #collectives = 0;

  constructor(engine: Engine, context: number, members: Group, rank: number, name: string) {
    this.engine = engine;
    this.context = context;
    this.members = members;
    this.rank = rank;
    this.name = name;
    this.peers = Array.from(members.worldRanks, (world) => engine.peer(world));
    this.#ranks = members.ranksOfWorld;
  }

  get owner(): Engine {
    return this.engine;
  }

  rankOf(worldRank: number): number {
    return this.#ranks[worldRank];
  }

  /** The first of the tags of the next collective operation: all ranks begin them in one order. */
  nextCollectiveTag(): number {
    this.#collectives = (this.#collectives + 1) % (2 ** 31 / ROUNDS);
    return this.#collectives * ROUNDS;
  }

  raise(error: Error): void {
    const handler = this.errorHandler;
    if (handler === 'throw' || !(error instanceof MpiError)) throw error;
    this.lastError = error;
    if (handler === 'abort') this.engine.abort(1, `${this.name}: ${error.message}`);
    if (typeof handler === 'function') handler(error);
  }

  /** Ranks here that are known to have failed. */
  failedRanks(): number[] {
    const { worldRanks } = this.members;
    const ranks = Array.from(worldRanks, (_, rank) => rank);
    return ranks.filter((rank) => this.engine.hasFailed(worldRanks[rank]));
  }

  isAcknowledged(worldRank: number): boolean {
    return this.acknowledged.has(this.rankOf(worldRank));
  }

  /** One of the ranks has revoked the communicator. */
  revoked(): void {
    this.isRevoked = true;
    this.onRevoked();
  }

  /** @throws MpiError `ERR_MPI_COMM` when the communicator was freed, `ERR_MPI_REVOKED`. */
  checkUsable(call: string): void {
    this.checkNotFreed(call);
    if (this.isRevoked) throw revoked(call, this.name);
  }

  /** @throws MpiError `ERR_MPI_COMM` */
  checkNotFreed(call: string): void {
    if (!this.isFreed) return;
    throw new MpiError(
      'ERR_MPI_COMM',
      `${call}: communicator ${this.name} was freed; use it before, or another one`,
      { call, operands: { communicator: this.name } },
    );
  }
}
