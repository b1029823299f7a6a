/** The progress engine of a rank: moves messages on, for callers that block and for those that await. */
import type { AperturePeer } from './channels/aperture/peer.js';
import type { Peer } from './channels/channel.js';
import { ANY_SOURCE } from './constants.js';
import { MpiError } from './errors.js';
import type { Incoming } from './incoming.js';
import { LoopDriver } from './loop-driver.js';
import type { Request, RequestOwner } from './request.js';
import { RECEIVE, SEND } from './request.js';
import type { Waiter } from './waiter.js';

/** Polls of a blocking call before it looks at clocks and failures: about a microsecond. */
const POLLS_AT_ONCE = 128;

/** Who failed, as the launcher or the aperture says. */
export interface FailureSource {
  /** Changes when there is news. */
  readonly failures: number;
  /** Ranks that failed, with the reason. */
  failed(): { rank: number; reason: string }[];
}

export class Engine implements RequestOwner {
  readonly rank: number;
  readonly size: number;
  readonly incoming: Incoming;
  readonly #peers: readonly Peer[];
  readonly #remote: readonly AperturePeer[];
  readonly #waiter: Waiter;
  readonly #loop: LoopDriver;
  readonly #failureSource: FailureSource;
  readonly #pollOnce = (): boolean => this.poll();
  #failuresSeen = 0;
  readonly #failedRanks = new Map<number, string>();
  /** A field, since the size of a Map costs as much as a message does. */
  #anyFailed = false;

  constructor(
    rank: number,
    peers: readonly Peer[],
    remote: readonly AperturePeer[],
    incoming: Incoming,
    waiter: Waiter,
    failureSource: FailureSource,
  ) {
    this.rank = rank;
    this.size = peers.length;
    this.#peers = peers;
    this.#remote = remote;
    this.incoming = incoming;
    this.#waiter = waiter;
    this.#failureSource = failureSource;
    this.#loop = new LoopDriver(this, waiter);
  }

  peer(rank: number): Peer {
    return this.#peers[rank];
  }

  /** Begins the send that the request describes. */
  startSend(request: Request): void {
    request.kind = SEND;
    const reason = this.#failedRanks.get(request.peer);
    if (reason !== undefined) {
      request.fail(this.#rankFailed(request.peer, reason, request));
      return;
    }
    this.#peers[request.peer].send(request);
  }

  /** Begins the receive that the request describes. */
  startReceive(request: Request): void {
    request.kind = RECEIVE;
    if (this.incoming.meet(request)) return;
    this.incoming.posted.post(request);
    if (this.#anyFailed) this.#failHopeless();
  }

  /** Handles what has come and sends what was stalled; true if anything moved. */
  poll(): boolean {
    let moved = false;
    const remote = this.#remote;
    for (let k = 0; k < remote.length; k++) {
      const peer = remote[k];
      if (peer.isStalled && peer.push()) moved = true;
      if (peer.poll()) moved = true;
    }
    return moved;
  }

  wait(request: Request): void {
    // What is on its way already, before the rest of waiting is set in motion.
    for (let polls = 0; polls < POLLS_AT_ONCE; polls++) {
      this.poll();
      if (request.done) return;
    }
    if (this.#remote.length === 0 || request.peer === this.rank) this.#endOwnDeadlock(request);
    else this.#waitLong(request);
  }

  #waitLong(request: Request): void {
    const waiter = this.#waiter;
    waiter.begin();
    while (!request.done) {
      if (this.poll()) {
        waiter.begin();
      } else if (waiter.isImpatient() && !this.checkFailures()) {
        waiter.rest(this.#pollOnce);
      }
    }
  }

  /** A send to, or a receive from, this very rank, which nobody but the blocked caller could ever meet. */
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

  withdraw(request: Request): boolean {
    if (request.kind === SEND) return this.#peers[request.peer].withdraw(request);
    // A receive that has met its message is no longer posted.
    if (request.source >= 0) return false;
    this.incoming.posted.remove(request);
    return true;
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
      this.#peers[rank].fail((request) => this.#rankFailed(rank, reason, request));
    }
    this.#failHopeless();
    return true;
  }

  close(): void {
    this.#loop.close();
  }

  #failHopeless(): void {
    for (const [rank, reason] of this.#failedRanks) {
      for (const request of this.incoming.posted.takeFrom(rank)) {
        request.fail(this.#rankFailed(rank, reason, request));
      }
    }
  }

  #rankFailed(rank: number, reason: string, request: Request): MpiError {
    const also = request.peer === ANY_SOURCE ? ', which this receive may have been meant for' : '';
    return new MpiError(
      'ERR_MPI_RANK_FAILED',
      `${request.describe()}: rank ${rank} failed${also}: ${reason}`,
      { operands: { ...request.operands(), failedRank: rank, reason } },
    );
  }
}
