/**
 * The way to a rank of one aperture: the protocol over the queues in it, and single copies of long messages within one kernel,
 * by their receiver.
 */
import type { Incoming } from '../../incoming.js';
import type { Request } from '../../request.js';
import { SINGLE_COPY_MESSAGES } from '../../traffic.js';
import type { Explanation } from '../channel.js';
import { KIND } from '../protocol/cell.js';
import { NO_PAYLOAD, ProtocolPeer } from '../protocol/peer.js';
import { EAGER, type Thresholds } from '../protocol/sender.js';
import type { Consumer } from './consumer.js';
import type { Polled } from './poll-set.js';
import { type Producer, SKIP } from './producer.js';
import type { PeerReach } from './reach.js';

export class AperturePeer extends ProtocolPeer implements Polled {
  protected readonly takenProtocol = SINGLE_COPY_MESSAGES;
  readonly #consumer: Consumer;
  readonly #reach: PeerReach;
  wasHeard = false;

  constructor(
    rank: number,
    producer: Producer,
    consumer: Consumer,
    words: Int32Array,
    incoming: Incoming,
    reach: PeerReach,
    thresholds: Thresholds,
  ) {
    super(rank, producer, consumer, words, incoming, reach, thresholds);
    this.#consumer = consumer;
    this.#reach = reach;
  }

  /** Handles the next message from this peer, if there is one. */
  poll(): boolean {
    const cell = this.#consumer.peek();
    if (cell < 0) return false;
    this.wasHeard = true;
    const kind = this.words[cell + KIND] & 0xff;
    let isWaitedFor: boolean;
    if (kind === EAGER) {
      this.receiveShort(cell);
      isWaitedFor = this.#consumer.releaseShort();
    } else {
      isWaitedFor = this.#handle(cell, kind);
    }
    if (isWaitedFor) this.#reach.wake();
    return true;
  }

  /** Handles a cell of another kind than the shortest messages; true if the sender waits for its room. */
  #handle(cell: number, kind: number): boolean {
    if (kind === SKIP) return this.#consumer.skip();
    const payloadBytes = this.receive(cell, kind);
    return payloadBytes === NO_PAYLOAD
      ? this.#consumer.releaseShort()
      : this.#consumer.releaseLong(payloadBytes);
  }

  protected expose(request: Request): number {
    return this.#reach.addressOf(request.memory);
  }

  protected conceal(): void {
    // Who may read this process's memory may always.
  }

  protected finishReceiving(): void {
    // It took nothing.
  }

  protected bring(request: Request, sendId: number, address: number): boolean {
    const { memory, byteLength } = request;
    if (address === 0 || !this.#reach.read(address, memory, byteLength)) return false;
    this.finishBrought(request, sendId);
    return true;
  }

  protected explainWhole(protocol: 'inline' | 'eager', reason: string): Explanation {
    return { channel: 'aperture', protocol, reason };
  }

  protected explainAnnounced(_byteLength: number, why: string): Explanation {
    const channel = 'aperture';
    const { whyRead } = this.#reach;
    return whyRead === undefined
      ? {
          channel,
          protocol: 'fragments',
          reason: `${why}, and both copy fragments of ${this.fragmentBytes} bytes at the same time`,
        }
      : { channel, protocol: 'single-copy', reason: `${why}, and ${whyRead}` };
  }
}
