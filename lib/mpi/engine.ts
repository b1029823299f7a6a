/** The progress engine of a rank: moves messages on, for callers that block and for those that await. */
import { writeSync } from 'node:fs';

import type { Channel, Peer } from './channels/channel.js';
import { ANY_SOURCE } from './constants.js';
import { ContextSource } from './creation.js';
import { MpiError } from './errors.js';
import { Group } from './group.js';
import type { Incoming } from './incoming.js';
import { LoopDriver } from './loop-driver.js';
import type { UnexpectedMessage } from './matching.js';
import type { Request, RequestOwner, RequestScope } from './request.js';
import { PROBE, RECEIVE, SEND } from './request.js';
import { Notices } from './survival/notices.js';
import type { Waiter } from './waiter.js';
import { type PendingOperation, type WaitBoard, WaitReport } from './waits.js';

/** Polls of a blocking call before it looks at clocks and failures: about a microsecond. */
const POLLS_AT_ONCE = 128;
/** Operations of which a rank that sleeps says that it waits for them; more are counted. */
const MOST_PENDING = 100;

/** Who failed, as the launcher or the aperture says. */
export interface FailureSource {
  /** Changes when there is news. */
  readonly failures: number;
  /** Ranks that failed, with the reason. */
  failed(): { rank: number; reason: string }[];
}

/** What an engine is made of. */
export interface EngineParts {
  readonly rank: number;
  /** The way to each rank of the world. */
  readonly peers: readonly Peer[];
  readonly channels: readonly Channel[];
  readonly incoming: Incoming;
  readonly waiter: Waiter;
  readonly failureSource: FailureSource;
  /** Undefined for a world of one. */
  readonly waitBoard: WaitBoard | undefined;
  /** Equal for ranks that share memory. */
  readonly host: number;
}

export class Engine implements RequestOwner {
  readonly rank: number;
  readonly size: number;
  readonly incoming: Incoming;
  readonly contexts: ContextSource;
  readonly host: number;
  readonly notices: Notices;
  /** Told when a rank of the world has failed, while this rank leaves the job. */
  onDeath: ((failure: (request: Request) => Error) => void) | undefined;
  readonly #peers: readonly Peer[];
  readonly #channels: readonly Channel[];
  readonly #waiter: Waiter;
  readonly #loop: LoopDriver;
  readonly #failureSource: FailureSource;
  readonly #waitBoard: WaitBoard | undefined;
  readonly #pollOnce = (): boolean => this.poll();
  #failuresSeen = 0;
  readonly #failedRanks = new Map<number, string>();
  /** A field, since the size of a Map costs as much as a message does. */
  #anyFailed = false;
  /** What a blocking call waits for. */
  #blockedOn: readonly Request[] | undefined;
  #isClosed = false;

  constructor(parts: EngineParts) {
    this.rank = parts.rank;
    this.size = parts.peers.length;
    this.incoming = parts.incoming;
    this.contexts = new ContextSource(this.rank, this.size);
    this.host = parts.host;
    this.notices = new Notices(this);
    this.#peers = parts.peers;
    this.#channels = parts.channels;
    this.#waiter = parts.waiter;
    this.#failureSource = parts.failureSource;
    this.#waitBoard = parts.waitBoard;
    this.#loop = new LoopDriver(this, parts.waiter);
    parts.waiter.onSleep = (isAsleep) => {
      if (isAsleep) this.#publishWaits();
      else if (!this.#isClosed) this.#waitBoard?.retract();
    };
  }

  peer(rank: number): Peer {
    return this.#peers[rank];
  }

  /** A group of these ranks of the world. */
  group(worldRanks: ArrayLike<number>): Group {
    return new Group(worldRanks, this.rank, this.size);
  }

  /** Begins the send that the request describes. */
  startSend(request: Request): void {
    request.kind = SEND;
    this.#peers[request.peer].send(request);
  }

  /** Begins the receive that the request describes. */
  startReceive(request: Request): void {
    request.kind = RECEIVE;
    if (this.incoming.meet(request)) return;
    this.incoming.posted.post(request);
    if (this.#anyFailed) this.#failHopeless();
  }

  /** Begins the receive of a message that a matched probe has taken. */
  receiveMatched(message: UnexpectedMessage, request: Request): void {
    message.delivery.deliver(message, request);
  }

  /** Begins the probe that the request describes. */
  startProbe(request: Request): void {
    if (this.incoming.probe(request)) return;
    this.incoming.waitForProbe(request);
    if (this.#anyFailed) this.#failHopeless();
  }

  /** Handles what has come and sends what was stalled; true if anything moved. */
  poll(): boolean {
    let moved = false;
    const channels = this.#channels;
    for (let k = 0; k < channels.length; k++) {
      if (channels[k].poll()) moved = true;
    }
    if (moved && this.incoming.notices.length > 0) this.#takeNotices();
    return moved;
  }

  wait(request: Request): void {
    // What is on its way already, before the rest of waiting is set in motion.
    for (let polls = 0; polls < POLLS_AT_ONCE; polls++) {
      this.poll();
      if (request.done) return;
    }
    this.waitUntil(() => request.done, [request]);
  }

  waitUntil(isDone: () => boolean, requests: readonly Request[]): void {
    this.poll();
    if (isDone()) return;
    if (requests.every((request) => this.#isForItselfOnly(request))) {
      for (const request of requests) this.#endOwnDeadlock(request);
      return;
    }
    this.#blockedOn = requests;
    try {
      this.#waitLong(isDone);
    } finally {
      this.#blockedOn = undefined;
    }
  }

  #waitLong(isDone: () => boolean): void {
    const waiter = this.#waiter;
    waiter.begin();
    while (!isDone()) {
      if (this.poll()) {
        waiter.begin();
      } else if (waiter.isImpatient() && !this.checkFailures()) {
        waiter.rest(this.#pollOnce);
      }
    }
  }

  /** A send to, or a receive from, this very rank, which nobody but the blocked caller could ever meet. */
  #isForItselfOnly(request: Request): boolean {
    return this.#channels.length === 0 || request.peer === this.rank;
  }

  #endOwnDeadlock(request: Request): void {
    this.withdraw(request);
    request.fail(
      new MpiError(
        'ERR_MPI_DEADLOCK',
        `${request.describe()}: this rank would wait for itself for ever; begin the receive before the send, ` +
          'by irecv',
        { operands: request.operands() },
      ),
    );
  }

  drive(): void {
    this.#loop.start();
  }

  settled(): void {
    this.#loop.settled();
  }

  withdraw(request: Request): boolean | undefined {
    return request.kind === SEND
      ? this.#peers[request.peer].withdraw(request)
      : this.incoming.withdraw(request);
  }

  /** Fails what waits for a rank that is gone, after taking what it sent before it went; true if there was news. */
  checkFailures(): boolean {
    if (this.#failureSource.failures === this.#failuresSeen) return false;
    this.#failuresSeen = this.#failureSource.failures;
    while (this.poll());
    for (const { rank, reason } of this.#failureSource.failed()) {
      if (this.#failedRanks.has(rank)) continue;
      this.#failedRanks.set(rank, reason);
      this.#anyFailed = true;
      this.#peers[rank].fail((request) => rankFailed(rank, reason, request));
      this.notices.died(rank);
      this.onDeath?.((request) => rankFailed(rank, reason, request));
    }
    this.#failHopeless();
    return true;
  }

  /** Whether any rank of the world is known to have failed. */
  get anyFailed(): boolean {
    return this.#anyFailed;
  }

  /** Whether a rank of the world is known to have failed. */
  hasFailed(rank: number): boolean {
    return this.#failedRanks.has(rank);
  }

  /** Fails all that is under way in a communicator; sends whose message its receiver has begun to take go on. */
  endOperations(scope: RequestScope, error: (request: Request) => Error): void {
    for (const request of this.incoming.takeOf(scope)) request.fail(error(request));
    for (const peer of this.#peers) {
      for (const request of peer.pending()) {
        if (request.scope === scope) request.withdraw(error(request));
      }
    }
  }

  /** Ends this process, and thereby the job: the launcher, which sees it, tells the others, so that it is the first. */
  abort(exitCode: number, reason: string): never {
    writeSync(2, `rank ${this.rank} aborts the job: ${reason}\n`);
    process.exit(exitCode);
  }

  /** Who waits for whom. */
  waitReport(): WaitReport {
    const board = this.#waitBoard;
    const ranks = Array.from({ length: this.size }, (_, rank) => {
      if (rank !== this.rank && board !== undefined) return { rank, ...board.read(rank) };
      const operations = this.#pending(MOST_PENDING);
      return { rank, state: 'running' as const, sleeps: 0, operations, more: 0 };
    });
    return new WaitReport(ranks);
  }

  /** The same for an error's message. */
  explainWaits(): string {
    return this.size === 1
      ? ''
      : `. What the ranks of this host wait for:\n${String(this.waitReport())}`;
  }

  close(): void {
    this.#isClosed = true;
    this.#loop.close();
  }

  #takeNotices(): void {
    const { notices } = this.incoming;
    this.incoming.notices = [];
    for (const message of notices) this.notices.take(message);
  }

  #publishWaits(): void {
    const blockedOn = this.#blockedOn;
    const operations =
      blockedOn === undefined
        ? this.#pending(MOST_PENDING)
        : blockedOn.filter(({ done }) => !done).map(operationOf);
    this.#waitBoard?.publish(blockedOn !== undefined, operations);
  }

  #pending(most: number): PendingOperation[] {
    const operations: PendingOperation[] = [];
    for (const requests of [
      this.incoming.posted,
      this.incoming.probes,
      ...this.#peers.map((peer) => peer.pending()),
    ]) {
      for (const request of requests) {
        if (operations.length >= most) return operations;
        operations.push(operationOf(request));
      }
    }
    return operations;
  }

  #failHopeless(): void {
    for (const [rank, reason] of this.#failedRanks) {
      for (const request of this.incoming.takeHopeless(rank)) {
        request.fail(rankFailed(rank, reason, request));
      }
    }
  }
}

function operationOf(request: Request): PendingOperation {
  const { kind, peer, tag, context, memory, scope } = request;
  return {
    kind: kind === SEND ? 'send' : kind >= PROBE ? 'probe' : 'receive',
    peer,
    tag,
    context,
    byteLength: memory.byteLength,
    communicator: scope.name,
  };
}

function rankFailed(rank: number, reason: string, request: Request): MpiError {
  const isOpen = request.peer === ANY_SOURCE;
  const also = isOpen ? ', which this receive may have been meant for' : '';
  const here = request.scope.rankOf(rank);
  const where = here === rank || here < 0 ? '' : ` (rank ${rank} of the world)`;
  return new MpiError(
    isOpen ? 'ERR_MPI_RANK_FAILED_PENDING' : 'ERR_MPI_RANK_FAILED',
    `${request.describe()}: rank ${here < 0 ? rank : here}${where} failed${also}: ${reason}`,
    { operands: { ...request.operands(), failedRank: rank, reason } },
  );
}
