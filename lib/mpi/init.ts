/** Joins this process to its job, and lets it leave. */
import type { Aperture } from '../aperture/index.js';
import { kernelId } from '../aperture/kernel.js';
import { findLauncher, type Launch } from './bootstrap/launcher.js';
import { joinOwnJob, type Membership } from './bootstrap/membership.js';
import { PeerWatch } from './bootstrap/peer-watch.js';
import { AperturePeer } from './channels/aperture/peer.js';
import { Consumer } from './channels/aperture/consumer.js';
import { Inbox } from './channels/aperture/inbox.js';
import { hasInboxes, longestPayload, READS_INBOX } from './channels/aperture/layout.js';
import { PollSet } from './channels/aperture/poll-set.js';
import { Producer } from './channels/aperture/producer.js';
import { PeerReach } from './channels/aperture/reach.js';
import { ApertureCardBoard } from './channels/aperture/card-board.js';
import { ApertureWaitBoard } from './channels/aperture/wait-board.js';
import type { Channel, Peer } from './channels/channel.js';
import { channelChoice, EAGER_BYTES } from './channels/choice.js';
import { SelfPeer } from './channels/self.js';
import { unexpectedLimit } from './channels/unexpected-limit.js';
import type { VerbsChannel } from './channels/verbs/channel.js';
import { Communicator } from './communicator.js';
import { Engine, type EngineParts, type FailureSource } from './engine.js';
import { MpiError } from './errors.js';
import { Incoming } from './incoming.js';
import { Scope } from './scope.js';
import { Trace } from './trace.js';
import { TracedEngine, TracedIncoming } from './tracing.js';
import { Waiter, type WakeEvents } from './waiter.js';
import type { WaitReport } from './waits.js';

const FRAGMENT_BYTES = 32768;
const WORLD_CONTEXT = 0;

/**
 * This process's part in a job.
 *
 * ```ts
 * // viaduct run -n 2 -- node app.js
 * import { init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * console.log(`rank ${job.world.rank} of ${job.world.size}`);
 * // prints [0] rank 0 of 2
 * // prints [1] rank 1 of 2
 * ```
 */
export interface Job {
  /** All ranks of the job. */
  readonly world: Communicator;
  /** The memory that the ranks on this host share; undefined for a program that runs alone. */
  readonly aperture: Aperture | undefined;
  /**
   * What each rank of this host waits for at this moment, and whether some wait for each other for ever. It costs those
   * others nothing, and they need do nothing for it.
   */
  readonly waitReport: () => WaitReport;
  /**
   * Leaves the job (MPI_Finalize): waits until all ranks do, then closes the aperture. Every rank calls it, at the
   * latest by itself when the event loop has nothing more to do. Calling it twice is harmless.
   *
   * @throws MpiError `ERR_MPI_RANK_FAILED` when a rank is gone that should have come here too.
   */
  readonly finalize: () => Promise<void>;
  /** As `finalize`. */
  [Symbol.asyncDispose](): Promise<void>;
}

let joined = false;

/**
 * Joins the job that this process was started for: by `viaduct run -n N -- node app.js`, or a launcher that speaks PMI-1
 * such as `mpiexec.hydra -n N node app.js` and `srun --mpi=pmi2 -n N node app.js`, it is one of N ranks; also where
 * `VIADUCT_RENDEZVOUS` and `VIADUCT_JOB_SECRET` are set, by which ranks meet over TCP. By `node app.js` it is a world of one.
 *
 * @throws MpiError `ERR_MPI_STATE` when called twice, `ERR_MPI_THREAD` when another thread of this process is this rank,
 *   `ERR_MPI_ENVIRONMENT`, `ERR_MPI_LAUNCHER`, `ERR_MPI_LAYOUT`; ApertureError when the job's aperture is missing, foreign or taken.
 */
export async function init(): Promise<Job> {
  if (joined) {
    throw new MpiError(
      'ERR_MPI_STATE',
      'init: this process has joined its job already; keep the job that the first call returned',
      { call: 'init' },
    );
  }
  const launch = findLauncher(process.env);
  joined = true;
  try {
    return await joinBy(launch);
  } catch (error) {
    joined = false;
    throw error;
  }
}

async function joinBy(launch: Launch): Promise<Job> {
  if (launch.by === 'nobody') return joinAlone();
  const membership = await joinVia(launch);
  const { aperture, apart, size, watchesPeers } = membership;
  const watch = watchesPeers ? new PeerWatch(aperture.participants, size) : undefined;
  try {
    if (process.env['VIADUCT_CHANNEL'] === 'aperture') {
      apart.forEach((why, other) => {
        if (why !== undefined) throw unreachable(other, why);
      });
    }
    const trace = traceOf(membership.rank);
    const { engine, verbs } = await makeEngine(membership, watch, trace);
    return makeJob(engine, trace, membership, watch, verbs);
  } catch (error) {
    watch?.close();
    aperture.close();
    membership.close();
    throw error;
  }
}

/** Ranks of `viaduct run` need not load what joins others. */
async function joinVia(launch: Exclude<Launch, { by: 'nobody' }>): Promise<Membership> {
  if (launch.by === 'viaduct') return joinOwnJob(launch);
  const { joinByMeeting } = await import('./bootstrap/join.js');
  if (launch.by === 'pmi') {
    const { PmiMeeting } = await import('./bootstrap/pmi-meeting.js');
    return joinByMeeting(await PmiMeeting.open(process.env));
  }
  const { TcpMeeting } = await import('./bootstrap/tcp/tcp-meeting.js');
  const meeting = await TcpMeeting.open(launch);
  return joinByMeeting(meeting, (aperture) => meeting.watch(aperture));
}

function unreachable(rank: number, why: string): MpiError {
  return new MpiError(
    'ERR_MPI_LAUNCHER',
    `init: rank ${rank} ${why}, and VIADUCT_CHANNEL=aperture allows nothing but shared memory; unset it, or start all ` +
      'ranks on one host, in one container or with the host’s pids',
    { call: 'init', operands: { rank } },
  );
}

function joinAlone(): Job {
  const trace = traceOf(0);
  const incoming = trace === undefined ? new Incoming() : new TracedIncoming(0);
  const waiter = new Waiter(undefined, 0, {
    oversubscribed: true,
    allLocal: () => true,
    otherBits: 0,
  });
  const failureSource: FailureSource = { failures: 0, failed: () => [] };
  const unexpectedBytes = unexpectedLimit(process.env['VIADUCT_UNEXPECTED_BYTES']);
  const parts: EngineParts = {
    rank: 0,
    peers: [new SelfPeer(0, incoming, EAGER_BYTES, unexpectedBytes)],
    channels: [],
    incoming,
    waiter,
    failureSource,
    waitBoard: undefined,
    host: 0,
  };
  return makeJob(engineOf(parts, trace), trace);
}

async function makeEngine(
  membership: Membership,
  watch: PeerWatch | undefined,
  trace: Trace | undefined,
): Promise<{ engine: Engine; verbs: VerbsChannel | undefined }> {
  const { aperture, apart, layout, rank, size, oversubscribed } = membership;
  const incoming = trace === undefined ? new Incoming() : new TracedIncoming(rank);
  const { geometry } = layout;
  const window = {
    words: new Int32Array(aperture.memory),
    bytes: new Uint8Array(aperture.memory),
  };
  const choice = channelChoice(process.env);
  const thresholds = {
    eagerBytes: Math.min(choice.eagerBytes, longestPayload(geometry)),
    fragmentBytes: Math.min(FRAGMENT_BYTES, longestPayload(geometry)),
    unexpectedBytes: unexpectedLimit(process.env['VIADUCT_UNEXPECTED_BYTES']) / size,
  };
  const inboxOf = (owner: number): Inbox | undefined =>
    hasInboxes(size) ? new Inbox(window.words, layout.inbox(owner), size) : undefined;
  // With a processor for each rank the two halves of the work in fragments beat one copy; with fewer, less work does.
  const mayRead =
    choice.longProtocol === 'single-copy' ||
    (oversubscribed && choice.longProtocol !== 'fragments');
  const kernel = kernelId();
  const peers: Peer[] = [];
  const remote: AperturePeer[] = [];
  const byVerbs: number[] = [];
  const reaches: PeerReach[] = [];
  for (let other = 0; other < size; other++) {
    if (other === rank) {
      peers[rank] = new SelfPeer(rank, incoming, EAGER_BYTES, thresholds.unexpectedBytes);
      continue;
    }
    if (choice.channel === 'verbs' || apart[other] !== undefined) {
      byVerbs.push(other);
      continue;
    }
    layout.prefault(window.words, rank, other);
    layout.prefault(window.words, other, rank);
    const reach = new PeerReach(aperture, other, kernel, mayRead, inboxOf(other), rank);
    const peer = new AperturePeer(
      other,
      new Producer(window, layout.queue(rank, other), geometry),
      new Consumer(window, layout.queue(other, rank), geometry),
      window.words,
      incoming,
      reach,
      thresholds,
    );
    peers[other] = peer;
    remote.push(peer);
    reaches.push(reach);
  }
  let verbs: VerbsChannel | undefined;
  if (byVerbs.length > 0) {
    // Most ranks need not load it.
    const { openVerbsChannel } = await import('./channels/verbs/open.js');
    const board = new ApertureCardBoard(window.words, window.bytes, layout, rank);
    verbs = await openVerbsChannel(
      {
        ...{ rank, size, ranks: byVerbs, board, incoming, choice },
        fragmentBytes: FRAGMENT_BYTES,
        unexpectedBytes: thresholds.unexpectedBytes,
        exchange: apart.some((why) => why !== undefined)
          ? (mine) => membership.exchange(mine)
          : undefined,
      },
      process.env,
    );
  }
  for (const other of byVerbs) peers[other] = verbs!.peer(other);
  let allLocal: boolean | undefined;
  const waiter = new Waiter(aperture, rank, {
    oversubscribed,
    allLocal: () => {
      if (allLocal === undefined && reaches.every((reach) => reach.isKnown)) {
        allLocal = reaches.every((reach) => reach.isLocal);
      }
      return allLocal === true;
    },
    otherBits: hasInboxes(size) ? READS_INBOX : 0,
    ...(verbs === undefined ? {} : { events: eventsOf(verbs, remote.length === 0) }),
  });
  const pollSet = new PollSet(remote, inboxOf(rank));
  for (const peer of remote) {
    peer.onStall = () => {
      pollSet.activate(peer);
    };
  }
  const channels: Channel[] = remote.length === 0 ? [] : [pollSet];
  if (verbs !== undefined) channels.push(verbs);
  const parts: EngineParts = {
    rank,
    peers,
    channels,
    incoming,
    waiter,
    failureSource: failuresOf(membership, watch, verbs),
    waitBoard: new ApertureWaitBoard(window.words, window.bytes, layout, rank),
    host: Number.parseInt(aperture.identity.slice(0, 8), 16) | 0,
  };
  return { engine: engineOf(parts, trace), verbs };
}

function engineOf(parts: EngineParts, trace: Trace | undefined): Engine {
  const { incoming } = parts;
  return trace !== undefined && incoming instanceof TracedIncoming
    ? new TracedEngine({ ...parts, incoming }, trace)
    : new Engine(parts);
}

function traceOf(rank: number): Trace | undefined {
  const file = process.env['VIADUCT_TRACE'];
  return file === undefined || file === '' ? undefined : new Trace(file, rank);
}

function eventsOf(verbs: VerbsChannel, areAll: boolean): WakeEvents {
  return {
    areAll,
    arm: () => {
      verbs.arm();
    },
    sleepSync: (timeoutMs) => {
      verbs.sleepSync(timeoutMs);
    },
    watch: (onEvent) => verbs.watch(onEvent),
  };
}

/** What the launcher says in the aperture comes before what a connection shows, for it knows why. */
function failuresOf(
  { aperture, size }: Membership,
  watch: PeerWatch | undefined,
  verbs: VerbsChannel | undefined,
): FailureSource {
  const { participants } = aperture;
  return {
    get failures() {
      watch?.look();
      verbs?.look();
      return participants.failures + (verbs?.failures ?? 0);
    },
    failed() {
      const failed = [];
      for (let rank = 0; rank < size; rank++) {
        const { state, reason = 'no reason is known' } = participants.describe(rank);
        if (state === 'failed') failed.push({ rank, reason });
      }
      if (verbs !== undefined) failed.push(...verbs.failed());
      return failed;
    },
  };
}

/** How often a rank looks whether others have left already. */
const LOOK_MS = 50;

/**
 * Waits until all ranks are here. Where one has failed, a rank that has not said that it goes on without leaves with the
 * error, by which the others are rid of it; those that have said so agree that all of them are here.
 */
async function takeLeave(
  engine: Engine,
  world: Communicator,
  aperture: Aperture | undefined,
): Promise<void> {
  const { errorHandler } = world;
  const goesOn = (): boolean => engine.notices.goesOn || errorHandler !== 'throw';
  engine.checkFailures();
  if (!engine.anyFailed || !goesOn()) {
    world.errorHandler = 'throw';
    try {
      await awaitAll(engine, world);
      return;
    } catch (error) {
      const code = error instanceof MpiError ? error.code : undefined;
      const isFailure = code === 'ERR_MPI_RANK_FAILED' || code === 'ERR_MPI_REVOKED';
      if (!isFailure || !goesOn()) throw error;
    } finally {
      world.errorHandler = errorHandler;
    }
  }
  // Who has come through the barrier before the failure knows that all were here, and is gone.
  let timer: NodeJS.Timeout | undefined;
  const someoneHasLeft = new Promise<void>((resolve) => {
    timer = setInterval(() => {
      for (let rank = 0; rank < engine.size; rank++) {
        if (aperture?.participants.state(rank) === 'finalized') resolve();
      }
    }, LOOK_MS);
  });
  await Promise.race([world.agree(0), someoneHasLeft]);
  clearInterval(timer);
}

/** A barrier that ends when any rank fails, for others may have left it because of that. */
async function awaitAll(engine: Engine, world: Communicator): Promise<void> {
  engine.onDeath = (failure) => engine.endOperations(world.scopeFor('finalize'), failure);
  try {
    await world.barrier();
  } finally {
    engine.onDeath = undefined;
  }
}

function makeJob(
  engine: Engine,
  trace: Trace | undefined,
  membership?: Membership,
  watch?: PeerWatch,
  verbs?: VerbsChannel,
): Job {
  const aperture = membership?.aperture;
  const everybody = engine.group(Array.from({ length: engine.size }, (_, rank) => rank));
  const world = new Communicator(new Scope(engine, WORLD_CONTEXT, everybody, engine.rank, 'world'));
  let leaving: Promise<void> | undefined;
  const leave = async (): Promise<void> => {
    process.off('beforeExit', onBeforeExit);
    try {
      trace?.close();
      await takeLeave(engine, world, aperture);
      if (engine.rank === 0) trace?.join(engine.size);
      await verbs?.leave();
      aperture?.participants.finalize(engine.rank);
    } finally {
      watch?.close();
      engine.close();
      verbs?.close();
      aperture?.close();
    }
    await membership?.leave();
  };
  const finalize = (): Promise<void> => (leaving ??= leave());
  const onBeforeExit = (): void => {
    void finalize();
  };
  process.on('beforeExit', onBeforeExit);
  const waitReport = (): WaitReport => engine.waitReport();
  return { world, aperture, waitReport, finalize, [Symbol.asyncDispose]: finalize };
}
