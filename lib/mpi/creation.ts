/**
 * How ranks agree on a new communicator: who is in it, and its context.
 *
 * A context is chosen by one rank, the new communicator's first, among numbers that are that rank's own: so it is new
 * without anybody else being asked, also where several communicators are made at the same time.
 */
import {
  allgather,
  broadcast,
  bytesAsWords,
  Circle,
  type Steps,
  wordsAsMemory,
} from './collective.js';
import { MpiError } from './errors.js';
import { type Group } from './group.js';
import { COLLECTIVE, CONTEXTS_EACH, CREATION, type Scope } from './scope.js';

const LAST_CONTEXT = 2 ** 31 - 2 * CONTEXTS_EACH;

/** The contexts that one rank of the world may choose. */
export class ContextSource {
  readonly #worldRank: number;
  readonly #worldSize: number;
  #taken = 0;
  readonly #unused: number[] = [];

  constructor(worldRank: number, worldSize: number) {
    this.#worldRank = worldRank;
    this.#worldSize = worldSize;
  }

  /** @throws MpiError `ERR_MPI_COMM` after some hundred million communicators, divided by the size of the world. */
  take(): number {
    const unused = this.#unused.pop();
    if (unused !== undefined) return unused;
    const number = 1 + this.#taken * this.#worldSize + this.#worldRank;
    if (number * CONTEXTS_EACH > LAST_CONTEXT) {
      throw new MpiError(
        'ERR_MPI_COMM',
        `rank ${this.#worldRank} has made ${this.#taken} communicators, and there are no numbers for more`,
      );
    }
    this.#taken++;
    return number * CONTEXTS_EACH;
  }

  /** Gives back what no communicator was made with. */
  giveBack(context: number): void {
    this.#unused.push(context);
  }
}

/** What a new communicator of this process is made of. */
export interface Blueprint {
  readonly context: number;
  readonly group: Group;
}

const circleOf = (scope: Scope): Circle =>
  new Circle(scope, scope.context + COLLECTIVE, scope.members);

/** The same group with a context of its own (MPI_Comm_dup). */
export function* dup(scope: Scope): Steps<Blueprint> {
  const context = yield* agree(scope, circleOf(scope), scope.nextCollectiveTag());
  return { context, group: scope.members };
}

/** Ranks of one color together, ordered by key, then by rank; undefined for no color (MPI_Comm_split). */
export function* split(
  scope: Scope,
  color: number | undefined,
  key: number,
): Steps<Blueprint | undefined> {
  const { contexts } = scope.engine;
  const proposed = contexts.take();
  const said = Int32Array.of(color === undefined ? 0 : 1, color ?? 0, key, proposed);
  const all = yield* allgather(circleOf(scope), scope.nextCollectiveTag(), said);
  const members: { rank: number; key: number; context: number }[] = [];
  for (let rank = 0; rank < scope.members.size; rank++) {
    const [hasColor, itsColor, itsKey, context] = all.subarray(rank * 4, rank * 4 + 4);
    if (hasColor === 1 && itsColor === color) members.push({ rank, key: itsKey, context });
  }
  members.sort((a, b) => a.key - b.key || a.rank - b.rank);
  if (members[0]?.rank !== scope.rank) contexts.giveBack(proposed);
  if (color === undefined) return undefined;
  return {
    context: members[0].context,
    group: scope.members.include(members.map(({ rank }) => rank)),
  };
}

/** Those of a group, with all ranks of the communicator taking part (MPI_Comm_create). */
export function* create(scope: Scope, group: Group): Steps<Blueprint | undefined> {
  checkWithin(scope, group, 'create');
  // Disjoint groups may be made at the same time: the first rank of each is its color.
  const [first] = group.rank < 0 ? [] : group.translate([0], scope.members);
  const made = yield* split(scope, first, group.rank);
  return made === undefined ? undefined : { context: made.context, group };
}

/** Those of a group, with nobody else taking part (MPI_Comm_create_group). */
export function* createGroup(scope: Scope, group: Group, tag: number): Steps<Blueprint> {
  checkWithin(scope, group, 'createGroup');
  if (group.rank < 0) {
    throw new MpiError('ERR_MPI_GROUP', 'createGroup: only members of the group take part', {
      call: 'createGroup',
    });
  }
  const circle = new Circle(scope, scope.context + CREATION, group);
  return { context: yield* agree(scope, circle, tag), group };
}

/** What an intercommunicator is made of. */
export interface Bridge extends Blueprint {
  readonly remote: Group;
}

/** Joins two groups whose leaders can speak to each other (MPI_Intercomm_create). */
export function* bridge(
  scope: Scope,
  localLeader: number,
  peer: Scope,
  remoteLeader: number,
  tag: number,
): Steps<Bridge> {
  const local = circleOf(scope);
  const collectiveTag = scope.nextCollectiveTag();
  let told: Int32Array | undefined;
  if (scope.rank === localLeader) {
    const mine = Int32Array.of(scope.engine.contexts.take(), ...scope.members.worldRanks);
    const leaders = new Circle(peer, peer.context + CREATION, peer.members);
    const receive = leaders.receiveAny(remoteLeader, tag);
    yield leaders.send(wordsAsMemory(mine), remoteLeader, tag);
    yield receive;
    const theirs = bytesAsWords(receive.memory.bytes);
    // The lower of the leaders' ranks in the world chooses for both.
    const isOurs = scope.engine.rank < peer.members.worldRanks[remoteLeader];
    if (!isOurs) scope.engine.contexts.giveBack(mine[0]);
    told = Int32Array.of(isOurs ? mine[0] : theirs[0], ...theirs.subarray(1));
  }
  // The leader need not be rank 0, from which broadcasts go.
  if (localLeader !== 0) {
    if (told !== undefined) yield local.send(wordsAsMemory(told), 0, collectiveTag);
    if (scope.rank === 0) {
      const receive = local.receiveAny(localLeader, collectiveTag);
      yield receive;
      told = bytesAsWords(receive.memory.bytes);
    }
  }
  const memory = scope.rank === 0 ? wordsAsMemory(told!) : undefined;
  const words = bytesAsWords(yield* broadcast(local, collectiveTag + 1, memory));
  const remote = scope.engine.group(words.subarray(1));
  if (remote.intersection(scope.members).size > 0) {
    throw new MpiError('ERR_MPI_GROUP', 'intercommCreate: the two groups have ranks in common', {
      call: 'intercommCreate',
    });
  }
  return { context: words[0], group: scope.members, remote };
}

/** Both groups of an intercommunicator in one, those that are not `high` first (MPI_Intercomm_merge). */
export function* merge(between: Scope, local: Scope, high: boolean): Steps<Blueprint> {
  const circle = circleOf(local);
  const tag = local.nextCollectiveTag();
  let told: Int32Array | undefined;
  if (local.rank === 0) {
    const { contexts } = between.engine;
    const leaders = new Circle(between, between.context + CREATION, between.members);
    const mine = Int32Array.of(contexts.take(), high ? 1 : 0);
    const receive = leaders.receiveAny(0, tag);
    yield leaders.send(wordsAsMemory(mine), 0, tag);
    yield receive;
    const [context, isHigh] = bytesAsWords(receive.memory.bytes);
    const isLower = local.engine.rank < between.members.worldRanks[0];
    const isFirst = mine[1] === isHigh ? isLower : mine[1] < isHigh;
    if (!isLower) contexts.giveBack(mine[0]);
    told = Int32Array.of(isLower ? mine[0] : context, isFirst ? 1 : 0);
  }
  const memory = told === undefined ? undefined : wordsAsMemory(told);
  const [context, isFirst] = bytesAsWords(yield* broadcast(circle, tag + 1, memory));
  const [first, second] =
    isFirst === 1 ? [local.members, between.members] : [between.members, local.members];
  return { context, group: first.union(second) };
}

function* agree(scope: Scope, circle: Circle, tag: number): Steps<number> {
  const chosen =
    circle.rank === 0 ? wordsAsMemory(Int32Array.of(scope.engine.contexts.take())) : undefined;
  return bytesAsWords(yield* broadcast(circle, tag, chosen))[0];
}

function checkWithin(scope: Scope, group: Group, call: string): void {
  if (group.difference(scope.members).size === 0) return;
  throw new MpiError(
    'ERR_MPI_GROUP',
    `${call}: the group has processes that are not in communicator ${scope.name}`,
    { call },
  );
}
