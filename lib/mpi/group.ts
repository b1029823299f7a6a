/** Groups: ordered sets of processes (MPI 4.1, section 7.3). */
import { PROC_NULL } from './constants.js';
import { MpiError, noArgument } from './errors.js';

/** How two groups or communicators compare (MPI 4.1, sections 7.3.1 and 7.4.1). */
export type Comparison = 'identical' | 'congruent' | 'similar' | 'unequal';

/**
 * Processes in an order; a process's rank is its place in it. Groups are values: operations make new ones, and nobody
 * else need take part.
 *
 * ```ts
 * // viaduct run -n 3 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const ends = world.group.include([2, 0]);
 * console.log(ends.size, ends.rank);
 * // prints [0] 2 1
 * // prints [1] 2 -1
 * // prints [2] 2 0
 * ```
 */
export class Group {
  /** How many processes there are (MPI_Group_size). */
  readonly size: number;
  /** This process's place, or -1 when it is none of them (MPI_Group_rank). */
  readonly rank: number;
  /** @internal the world's rank of each */
  readonly worldRanks: Int32Array;
  readonly #worldRank: number;
  readonly #worldSize: number;
  #ranks: Int32Array | undefined;

  /** @internal */
  constructor(worldRanks: ArrayLike<number>, worldRank: number, worldSize: number) {
    this.worldRanks = Int32Array.from(worldRanks);
    this.size = worldRanks.length;
    this.#worldRank = worldRank;
    this.#worldSize = worldSize;
    this.rank = this.worldRanks.indexOf(worldRank);
  }

  /** @internal The rank here of each rank of the world, -1 for those that are not in the group. */
  get ranksOfWorld(): Int32Array {
    if (this.#ranks === undefined) {
      this.#ranks = new Int32Array(this.#worldSize).fill(-1);
      for (let rank = 0; rank < this.size; rank++) this.#ranks[this.worldRanks[rank]] = rank;
    }
    return this.#ranks;
  }

  /** @internal */
  get isWorld(): boolean {
    return this.size === this.#worldSize && this.worldRanks.every((world, rank) => world === rank);
  }

  /**
   * The ranks that processes of this group have in another, -1 for those that are not there, and `PROC_NULL` for
   * `PROC_NULL` (MPI_Group_translate_ranks).
   *
   * @throws MpiError `ERR_MPI_RANK`.
   */
  translate(ranks: readonly number[], other: Group): number[] {
    return ranks.map((rank) =>
      rank === PROC_NULL
        ? PROC_NULL
        : other.ranksOfWorld[this.#worldRankOf(rank, 'group.translate')],
    );
  }

  /** `identical`: the same processes in the same order; `similar`: in another; else `unequal` (MPI_Group_compare). */
  compare(other: Group): Exclude<Comparison, 'congruent'> {
    if (this.size !== other.size) return 'unequal';
    if (this.worldRanks.every((world, rank) => world === other.worldRanks[rank])) {
      return 'identical';
    }
    return this.worldRanks.every((world) => other.ranksOfWorld[world] >= 0) ? 'similar' : 'unequal';
  }

  /** The processes of this group, then those that only the other has (MPI_Group_union). */
  union(other: Group): Group {
    return this.#of([...this.worldRanks, ...other.difference(this).worldRanks]);
  }

  /** Those that are in the other group too, in this one's order (MPI_Group_intersection). */
  intersection(other: Group): Group {
    return this.#of(this.worldRanks.filter((world) => other.ranksOfWorld[world] >= 0));
  }

  /** Those that are not in the other group, in this one's order (MPI_Group_difference). */
  difference(other: Group): Group {
    return this.#of(this.worldRanks.filter((world) => other.ranksOfWorld[world] < 0));
  }

  /**
   * The processes with these ranks, in this order (MPI_Group_incl).
   *
   * @throws MpiError `ERR_MPI_RANK` for a rank that is not there, or named twice.
   */
  include(ranks: readonly number[]): Group {
    return this.#of(this.#distinct(ranks, 'group.include'));
  }

  /**
   * All but the processes with these ranks (MPI_Group_excl).
   *
   * @throws MpiError `ERR_MPI_RANK` for a rank that is not there, or named twice.
   */
  exclude(ranks: readonly number[]): Group {
    const excluded = new Set(this.#distinct(ranks, 'group.exclude'));
    return this.#of(this.worldRanks.filter((world) => !excluded.has(world)));
  }

  #of(worldRanks: ArrayLike<number>): Group {
    return new Group(worldRanks, this.#worldRank, this.#worldSize);
  }

  #distinct(ranks: readonly number[], call: string): number[] {
    if (new Set(ranks).size !== ranks.length) {
      throw new MpiError('ERR_MPI_RANK', `${call}: a rank is named twice in ${ranks.join(', ')}`, {
        call,
        operands: { ranks },
      });
    }
    return ranks.map((rank) => this.#worldRankOf(rank, call));
  }

  #worldRankOf(rank: number, call: string): number {
    const world = this.worldRanks[rank];
    if (world === undefined) {
      throw noArgument('ERR_MPI_RANK', call, `the group's ranks are 0 to ${this.size - 1}`, rank);
    }
    return world;
  }
}
