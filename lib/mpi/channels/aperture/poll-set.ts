/** Which peers of the aperture are polled: all where they are few, else those that were heard of lately. */
import type { Channel } from '../channel.js';
import type { Inbox } from './inbox.js';
import { ACTIVE_PEERS } from './layout.js';

/** What a poll set asks of a peer. */
export interface Polled {
  readonly rank: number;
  /** Something waits for room in the queue to it. */
  readonly isStalled: boolean;
  /** Set when a message has come of it; cleared here. */
  wasHeard: boolean;
  push(): boolean;
  poll(): boolean;
}

export class PollSet implements Channel {
  readonly #peers: ReadonlyMap<number, Polled>;
  readonly #inbox: Inbox | undefined;
  readonly #active: Polled[] = [];
  /** Where to look next for one that was silent. */
  #hand = 0;

  /** @param inbox where peers that are not polled leave word; undefined: all are polled. */
  constructor(peers: readonly Polled[], inbox: Inbox | undefined) {
    this.#peers = new Map(peers.map((peer) => [peer.rank, peer]));
    this.#inbox = inbox;
    if (inbox === undefined) this.#active.push(...peers);
  }

  poll(): boolean {
    let moved = false;
    const active = this.#active;
    for (let k = 0; k < active.length; k++) {
      const peer = active[k];
      if (peer.isStalled && peer.push()) moved = true;
      if (peer.poll()) moved = true;
    }
    if (this.#inbox !== undefined && this.#inbox.hasNews) {
      this.#hearNews(this.#inbox);
      moved = true;
    }
    return moved;
  }

  /** Has a peer polled and pushed from now on, until it is silent. */
  activate(peer: Polled): void {
    if (this.#inbox === undefined || this.#active.includes(peer)) return;
    peer.wasHeard = true;
    if (this.#active.length >= ACTIVE_PEERS) this.#makeRoom(this.#inbox);
    this.#active.push(peer);
    this.#inbox.setListening(peer.rank, true);
  }

  #hearNews(inbox: Inbox): void {
    for (const rank of inbox.takeNews()) {
      const peer = this.#peers.get(rank);
      if (peer !== undefined) this.activate(peer);
    }
  }

  /** Stops listening to one that was silent since it was last looked at here, if there is one. */
  #makeRoom(inbox: Inbox): void {
    const active = this.#active;
    for (let looks = 0; looks < 2 * active.length; looks++) {
      this.#hand = (this.#hand + 1) % active.length;
      const peer = active[this.#hand];
      if (peer.wasHeard || peer.isStalled) {
        peer.wasHeard = false;
        continue;
      }
      inbox.setListening(peer.rank, false);
      // What it published before it could see that.
      if (peer.poll()) {
        inbox.setListening(peer.rank, true);
        continue;
      }
      active.splice(this.#hand, 1);
      return;
    }
  }
}
