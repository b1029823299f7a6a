/** Communicators of one group, and how others are made of them (MPI 4.1, chapter 7). */
import { barrier, Circle, run, runSync, type Steps } from './collective.js';
import { checkTag, MpiError, noArgument } from './errors.js';
import type { Comparison, Group } from './group.js';
import * as creation from './creation.js';
import { Messaging } from './probing.js';
import type { Request } from './request.js';
import { COLLECTIVE, Scope } from './scope.js';
import type { Value } from './survival/agreement.js';

/** Which ranks come together in a split, and in which order. */
export interface SplitOptions<Color extends number | undefined = number | undefined> {
  /** Ranks of one color, any whole number of 32 bits, make one communicator; undefined: none (MPI_UNDEFINED). */
  readonly color: Color;
  /** Orders the ranks of a color, in the order of their old ranks where equal. Default: 0. */
  readonly key?: number;
}

/** What joins two groups. */
export interface IntercommOptions {
  /** Rank in this communicator of the one that speaks for it. Default: 0. */
  readonly localLeader?: number;
  /** In which the two leaders know each other; only the leaders need one. */
  readonly peerCommunicator?: Communicator;
  /** Rank of the other leader there. */
  readonly remoteLeader?: number;
  /** For what the leaders say to each other, so that several pairs of groups can be joined at once. Default: 0. */
  readonly tag?: number;
}

/** What survivors have agreed on; the same on all of them. */
export interface Agreed {
  /** Those of all who took part, by bitwise and. */
  readonly flags: number;
  /** Ranks that took no part, or that one who did knew to have failed. */
  readonly failed: readonly number[];
  /** Those of them that not all had acknowledged, by `ackFailed`. */
  readonly unacknowledged: readonly number[];
}

/**
 * Ranks 0 to `size - 1`, of which this process is `rank`, apart from all other communicators.
 *
 * A name that ends in `Sync` blocks the thread, the others return promises, and those that begin with `i` return a
 * request. Messages of one sender to one receiver arrive in order (MPI 4.1, section 3.5). A communicator belongs to the
 * thread that joined the job: other worker threads may be ranks of their own.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const view = new Float64Array(4);
 * if (world.rank === 0) await world.send(view.fill(1), 1, 7);
 * if (world.rank === 1) {
 *   const { source, tag, byteLength } = await world.recv(view, 0, 7);
 *   console.log(source, tag, byteLength, view.join(' ')); // prints [1] 0 7 32 1 1 1 1
 * }
 * await world.barrier();
 * ```
 */
export class Communicator extends Messaging {
  #children = 0;

  /** @internal */
  constructor(scope: Scope) {
    super(scope, scope.members.size);
    scope.engine.notices.register(scope);
  }

  /** The ranks as a group (MPI_Comm_group). */
  get group(): Group {
    return this.scope.members;
  }

  /**
   * Blocks until all ranks of the communicator are in this call (MPI_Barrier).
   *
   * @throws MpiError `ERR_MPI_RANK_FAILED` when one is gone that should have come; `ERR_MPI_COMM`.
   */
  barrierSync(): void {
    this.#runSync('barrierSync', () => this.#barrier());
  }

  /** Resolves when all ranks of the communicator are in this call (MPI_Barrier). Rejects as `barrierSync` throws. */
  async barrier(): Promise<void> {
    await this.#run('barrier', () => this.#barrier());
  }

  /** A communicator of the same ranks, whose messages are apart from this one's (MPI_Comm_dup). All ranks call it. */
  async dup(): Promise<Communicator> {
    return this.#make(await this.#create('dup', () => creation.dup(this.scope)), 'dup');
  }

  /** As `dup`, blocking. */
  dupSync(): Communicator {
    return this.#make(
      this.#createSync('dupSync', () => creation.dup(this.scope)),
      'dup',
    );
  }

  /**
   * A communicator for each color, of the ranks that name it (MPI_Comm_split); undefined where no color is named. All
   * ranks call it.
   *
   * @throws MpiError `ERR_MPI_ARG` for a color or key that is no whole number of 32 bits.
   */
  async split(options: SplitOptions<number>): Promise<Communicator>;
  async split(options: SplitOptions): Promise<Communicator | undefined>;
  async split(options: SplitOptions): Promise<Communicator | undefined> {
    const made = await this.#create('split', () => this.#split(options, 'split'));
    return made && this.#make(made, `split ${options.color}`);
  }

  /** As `split`, blocking. */
  splitSync(options: SplitOptions<number>): Communicator;
  splitSync(options: SplitOptions): Communicator | undefined;
  splitSync(options: SplitOptions): Communicator | undefined {
    const made = this.#createSync('splitSync', () => this.#split(options, 'splitSync'));
    return made && this.#make(made, `split ${options.color}`);
  }

  /**
   * A communicator of the ranks that share memory with this one, virtual machines of the host included
   * (MPI_Comm_split_type with MPI_COMM_TYPE_SHARED). All ranks call it.
   */
  async splitByHost(options: { readonly key?: number } = {}): Promise<Communicator> {
    const color = this.scope.engine.host;
    return this.split({ color, ...options });
  }

  /** As `splitByHost`, blocking. */
  splitByHostSync(options: { readonly key?: number } = {}): Communicator {
    return this.splitSync({ color: this.scope.engine.host, ...options });
  }

  /**
   * A communicator of a group's processes, in its order (MPI_Comm_create); undefined on ranks that are not in the group
   * they name. All ranks call it; groups that they name are the same or have no process in common.
   *
   * @throws MpiError `ERR_MPI_GROUP` when the group has processes that are not in this communicator.
   */
  async create(group: Group): Promise<Communicator | undefined> {
    const made = await this.#create('create', () => creation.create(this.scope, group));
    return made && this.#make(made, 'create');
  }

  /** As `create`, blocking. */
  createSync(group: Group): Communicator | undefined {
    const made = this.#createSync('createSync', () => creation.create(this.scope, group));
    return made && this.#make(made, 'create');
  }

  /**
   * As `create`, but called by the processes of the group only (MPI_Comm_create_group).
   *
   * @param tag tells calls apart that several threads of execution of one process make at the same time.
   * @throws MpiError `ERR_MPI_GROUP`, also where this process is not in the group; `ERR_MPI_TAG`.
   */
  async createGroup(group: Group, tag = 0): Promise<Communicator> {
    checkTag(tag, 'createGroup');
    const steps = () => creation.createGroup(this.scope, group, tag);
    return this.#make(await this.#create('createGroup', steps), 'createGroup');
  }

  /** As `createGroup`, blocking. */
  createGroupSync(group: Group, tag = 0): Communicator {
    checkTag(tag, 'createGroupSync');
    const steps = () => creation.createGroup(this.scope, group, tag);
    return this.#make(this.#createSync('createGroupSync', steps), 'createGroup');
  }

  /**
   * Ends all operations of the communicator on all its ranks, pending and later ones, with `ERR_MPI_REVOKED`; what is left are
   * `shrink`, `agree` and `ackFailed` (MPIX_Comm_revoke of ULFM). One rank calls it, typically after a call has failed
   * with `ERR_MPI_RANK_FAILED`, so that others who wait for this one learn that it does something else.
   *
   * @throws MpiError `ERR_MPI_COMM`.
   */
  revoke(): void {
    this.scope.checkNotFreed('revoke');
    this.scope.engine.notices.revoke(this.scope);
  }

  /** Whether a rank has revoked the communicator, as far as this one knows (MPIX_Comm_is_revoked). */
  get isRevoked(): boolean {
    return this.scope.isRevoked;
  }

  /** Those of the ranks that are known here to have failed (MPIX_Comm_get_failed). */
  getFailed(): Group {
    this.scope.engine.checkFailures();
    return this.scope.members.include(this.scope.failedRanks());
  }

  /**
   * Lets receives from any rank go on although ranks have failed, the first `count` of `getFailed()`, by default all
   * (MPIX_Comm_ack_failed).
   *
   * @returns how many are acknowledged now.
   */
  ackFailed(count = Infinity): number {
    const { engine, acknowledged } = this.scope;
    engine.notices.goesOn = true;
    engine.checkFailures();
    for (const rank of this.scope.failedRanks()) {
      if (acknowledged.size >= count) break;
      acknowledged.add(rank);
    }
    return acknowledged.size;
  }

  /**
   * The survivors agree on `flags`, those of all by bitwise and, and on who has failed, also if more of them fail meanwhile and
   * if the communicator is revoked (MPIX_Comm_agree). All survivors call it. MPI reports unacknowledged failures as an
   * error; here they are in the result, which is the same on all ranks.
   *
   * @param flags a whole number of 32 bits
   * @throws MpiError `ERR_MPI_COMM`, `ERR_MPI_ARG`.
   */
  async agree(flags: number): Promise<Agreed> {
    const [request, result] = this.#agree(flags, 0, 'agree');
    await request;
    return this.#agreed(result());
  }

  /** As `agree`, blocking. */
  agreeSync(flags: number): Agreed {
    const [request, result] = this.#agree(flags, 0, 'agreeSync');
    request.waitSync();
    return this.#agreed(result());
  }

  /**
   * A communicator of those who have not failed, in the order of their ranks (MPIX_Comm_shrink). All survivors call it; the
   * communicator may be revoked. One who fails meanwhile may be in it.
   *
   * ```ts
   * // viaduct run -n 2 -- node app.js
   * import { init } from 'viaduct/mpi';
   *
   * await using job = await init();
   * const { world } = job;
   * if (world.rank === 0) world.revoke(); // as after an ERR_MPI_RANK_FAILED, under viaduct run --keep-going
   * await world.barrier().catch((error) => console.log(error.code));
   * // prints [0] ERR_MPI_REVOKED
   * // prints [1] ERR_MPI_REVOKED
   * const survivors = await world.shrink();
   * console.log(`${survivors.rank} of ${survivors.size}`);
   * // prints [0] 0 of 2
   * // prints [1] 1 of 2
   * ```
   *
   * @throws MpiError `ERR_MPI_COMM`.
   */
  async shrink(): Promise<Communicator> {
    const context = this.scope.engine.contexts.take();
    const [request, result] = this.#agree(-1, context, 'shrink');
    await request;
    return this.#shrunk(result(), context);
  }

  /** As `shrink`, blocking. */
  shrinkSync(): Communicator {
    const context = this.scope.engine.contexts.take();
    const [request, result] = this.#agree(-1, context, 'shrinkSync');
    request.waitSync();
    return this.#shrunk(result(), context);
  }

  /**
   * How two communicators compare (MPI_Comm_compare): `identical`: the same one; `congruent`: the same ranks in the same
   * order; `similar`: in another order; else `unequal`.
   */
  compare(other: Communicator): Comparison {
    if (other.scope.context === this.scope.context) return 'identical';
    const comparison = this.group.compare(other.group);
    return comparison === 'identical' ? 'congruent' : comparison;
  }

  /**
   * Gives the communicator up (MPI_Comm_free). Operations that are under way end as they would have; later calls are
   * errors. Freeing it twice is harmless.
   *
   * @throws MpiError `ERR_MPI_COMM` for the world, which is there until the job is left.
   */
  free(): void {
    if (this.scope.context === 0) {
      throw new MpiError('ERR_MPI_COMM', 'free: the world lasts until the job is left', {
        call: 'free',
      });
    }
    this.markFreed();
  }

  /** As `free`. */
  [Symbol.dispose](): void {
    this.free();
  }

  /** @internal */
  scopeFor(call: string): Scope {
    this.scope.checkUsable(call);
    return this.scope;
  }

  /** @internal The name of the next communicator that is made of this one. */
  nameChild(how: string): string {
    return `${this.name}.${how} (${++this.#children})`;
  }

  #agree(flags: number, context: number, call: string): [Request, () => Value] {
    if ((flags | 0) !== flags) {
      throw noArgument('ERR_MPI_ARG', call, 'flags are a whole number of 32 bits', flags);
    }
    this.scope.checkNotFreed(call);
    let decided: Value | undefined;
    const request = this.scope.engine.notices.agree(this.scope, flags, context, (value) => {
      decided = value;
    });
    return [request, () => decided!];
  }

  #agreed({ flags, contributors, dead, acknowledged }: Value): Agreed {
    const ranks = Array.from({ length: this.scope.members.size }, (_, rank) => rank);
    const failed = ranks.filter((rank) => dead.has(rank) || !contributors.has(rank));
    return { flags, failed, unacknowledged: failed.filter((rank) => !acknowledged.has(rank)) };
  }

  #shrunk(value: Value, proposed: number): Communicator {
    const { context } = value;
    // The number of the one who coordinated the agreement.
    if (context !== proposed) this.scope.engine.contexts.giveBack(proposed);
    const group = this.scope.members.exclude(this.#agreed(value).failed);
    return this.#make({ context, group }, 'shrink');
  }

  #barrier(): Steps<void> {
    const { scope } = this;
    const circle = new Circle(scope, scope.context + COLLECTIVE, scope.members);
    return barrier(circle, scope.nextCollectiveTag());
  }

  #split({ color, key = 0 }: SplitOptions, call: string): Steps<creation.Blueprint | undefined> {
    for (const number of [color ?? 0, key]) {
      if ((number | 0) === number) continue;
      throw noArgument('ERR_MPI_ARG', call, 'color and key are whole numbers of 32 bits', number);
    }
    return creation.split(this.scope, color, key);
  }

  #make({ context, group }: creation.Blueprint, how: string): Communicator {
    const { engine, errorHandler } = this.scope;
    const scope = new Scope(engine, context, group, group.rank, this.nameChild(how));
    scope.errorHandler = errorHandler;
    return new Communicator(scope);
  }

  /** With an error handler that does not throw, the operation ends here without a result. */
  #runSync(call: string, steps: () => Steps<void>): void {
    try {
      this.scope.checkUsable(call);
      runSync(steps());
    } catch (error) {
      this.scope.raise(error as Error);
    }
  }

  async #run(call: string, steps: () => Steps<void>): Promise<void> {
    try {
      this.scope.checkUsable(call);
      await run(steps());
    } catch (error) {
      this.scope.raise(error as Error);
    }
  }

  /** There is no communicator without its ranks: what goes wrong here is thrown whatever the error handler. */
  #createSync<T>(call: string, steps: () => Steps<T>): T {
    this.scope.checkUsable(call);
    return runSync(steps());
  }

  async #create<T>(call: string, steps: () => Steps<T>): Promise<T> {
    this.scope.checkUsable(call);
    return run(steps());
  }
}
