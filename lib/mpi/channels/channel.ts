/** What the engine asks of a channel, and of the way to one peer that a channel is. */
import type { Memory } from '../memory.js';
import type { Delivery } from '../matching.js';
import type { Request } from '../request.js';
import type { MessageProtocol, TrafficCounters } from '../traffic.js';

/** A way of messages between processes; it serves some of the ranks. */
export interface Channel {
  /** Handles what has come and sends what was stalled; true if anything moved. */
  poll(): boolean;
}

/** The way to one rank; there is one for each rank of the world. */
export interface Peer extends Delivery {
  /** Sends a message at once if that needs no waiting and no request; false: use `send`. */
  trySend(context: number, tag: number, memory: Memory): boolean;
  /** Begins a send that the channel's `poll` will complete. */
  send(request: Request): void;
  /** Takes a send back that has not begun; false when it has, undefined when the peer is asked whether it has. */
  withdraw(request: Request): boolean | undefined;
  /** Fails what is under way with a peer that is gone, and whatever is begun from then on. */
  fail(error: (request: Request) => Error): void;
  /** Sends that are not done. */
  pending(): Request[];
  /** How a message of this size would go. */
  explain(byteLength: number): Explanation;
  /** What has gone and come this way. */
  counters(): TrafficCounters;
}

/** How a message would travel. */
export interface Explanation {
  /** `self`: within the process; `aperture`: through memory that both ranks map; `verbs`: by a device of verbs. */
  readonly channel: 'self' | 'aperture' | 'verbs';
  /**
   * `inline`: within one cache line; `eager`: whole, before it is asked for; `single-copy`: by its receiver, straight from
   * the sender's memory; `fragments`: in pieces that both ranks copy at the same time; `local`: from buffer to buffer;
   * `rdma-read`, `rdma-write`: from memory to memory by the device, at the receiver's or the sender's request.
   */
  readonly protocol: MessageProtocol;
  /** Why, in words. */
  readonly reason: string;
}
