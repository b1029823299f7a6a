/** Communicators of one group, and how others are made of them (MPI 4.1, chapter 7). */
import { barrier, Circle, run, runSync, type Steps } from './collective.js';
import { checkTag, MpiError, noArgument } from './errors.js';
import type { Comparison, Group } from './group.js';
import * as creation from './creation.js';
import { Messaging } from './probing.js';
import { COLLECTIVE, Scope } from './scope.js';

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
