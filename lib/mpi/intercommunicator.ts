/** Communicators between two groups: a rank of one speaks to the ranks of the other (MPI 4.1, section 7.6). */
import { run, runSync, type Steps } from './collective.js';
import { Communicator, type IntercommOptions } from './communicator.js';
import { type Bridge, bridge, merge } from './creation.js';
import { checkTag, MpiError, noSuchRank } from './errors.js';
import type { Group } from './group.js';
import { Messaging } from './probing.js';
import { Scope } from './scope.js';

/**
 * Ranks in sends, receives and statuses are those of the other group.
 *
 * ```ts
 * // viaduct run -n 3 -- node app.js
 * import { init, intercommCreate } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const { world } = job;
 * const isClient = world.rank > 0; // rank 0 serves the others
 * const mine = await world.split({ color: isClient ? 1 : 0 });
 * const between = await intercommCreate(mine, {
 *   peerCommunicator: world,
 *   remoteLeader: isClient ? 0 : 1,
 * });
 * if (isClient) await between.send(Int32Array.of(world.rank), 0);
 * else console.log(between.remoteSize, (await between.receive(1)).status.source); // prints [0] 2 1
 * if (!isClient) await between.receive(0);
 * ```
 */
export class Intercommunicator extends Messaging {
  /** How many ranks the other group has (MPI_Comm_remote_size). */
  readonly remoteSize: number;
  /** This process's group (MPI_Comm_group). */
  readonly group: Group;
  /** The other group (MPI_Comm_remote_group). */
  readonly remoteGroup: Group;
  /** For operations within this process's group: the two groups have no rank in common, so the context may be one. */
  readonly #local: Scope;

  /** @internal */
  constructor(scope: Scope, local: Scope) {
    super(scope, local.members.size);
    this.#local = local;
    this.group = local.members;
    this.remoteGroup = scope.members;
    this.remoteSize = scope.members.size;
  }

  /**
   * One communicator of both groups; the ranks of those who say `high` come last (MPI_Intercomm_merge). All ranks of
   * both groups call it; those of one group say the same.
   */
  async merge(high: boolean): Promise<Communicator> {
    return this.#made(await run(this.#merge(high)));
  }

  /** As `merge`, blocking. */
  mergeSync(high: boolean): Communicator {
    return this.#made(runSync(this.#merge(high)));
  }

  /** As `Communicator.free`. */
  free(): void {
    this.markFreed();
  }

  /** As `free`. */
  [Symbol.dispose](): void {
    this.free();
  }

  #merge(high: boolean): ReturnType<typeof merge> {
    this.scope.checkUsable('merge');
    return merge(this.scope, this.#local, high);
  }

  #made({ context, group }: { context: number; group: Group }): Communicator {
    const { engine, name } = this.scope;
    return new Communicator(new Scope(engine, context, group, group.rank, `${name}.merge`));
  }
}

/**
 * Joins two groups that have no rank in common (MPI_Intercomm_create). All ranks of both call it, each with a
 * communicator of its own group.
 *
 * @throws MpiError `ERR_MPI_RANK` for a leader that is none, `ERR_MPI_GROUP` for groups with ranks in common,
 *   `ERR_MPI_TAG`, `ERR_MPI_COMM`.
 */
export async function intercommCreate(
  local: Communicator,
  options: IntercommOptions,
): Promise<Intercommunicator> {
  return made(local, await run(stepsOf(local, options, 'intercommCreate')));
}

/** As `intercommCreate`, blocking. */
export function intercommCreateSync(
  local: Communicator,
  options: IntercommOptions,
): Intercommunicator {
  return made(local, runSync(stepsOf(local, options, 'intercommCreateSync')));
}

function stepsOf(local: Communicator, options: IntercommOptions, call: string): Steps<Bridge> {
  const { localLeader = 0, peerCommunicator, remoteLeader = 0, tag = 0 } = options;
  const scope = local.scopeFor(call);
  checkTag(tag, call);
  if (!(localLeader in scope.peers)) throw noSuchRank(localLeader, local.size, call);
  if (local.rank !== localLeader) return bridge(scope, localLeader, scope, 0, tag);
  if (peerCommunicator === undefined) {
    throw new MpiError(
      'ERR_MPI_COMM',
      `${call}: rank ${localLeader}, the leader, needs a peerCommunicator in which it finds the other leader`,
      { call },
    );
  }
  const peer = peerCommunicator.scopeFor(call);
  if (!(remoteLeader in peer.peers)) throw noSuchRank(remoteLeader, peerCommunicator.size, call);
  return bridge(scope, localLeader, peer, remoteLeader, tag);
}

function made(local: Communicator, { context, group, remote }: Bridge): Intercommunicator {
  const { engine } = local.scopeFor('intercommCreate');
  const name = local.nameChild('intercomm');
  return new Intercommunicator(
    new Scope(engine, context, remote, group.rank, name),
    new Scope(engine, context, group, group.rank, name),
  );
}
