/**
 * The protocol between two ranks, over whatever queue a channel has between them.
 *
 * A short message travels whole (eager). A longer one is announced; its receiver, once matched, takes it straight from the
 * sender's memory and says so, or asks for it: in fragments through the queue, which both copy at the same time (pipelined), or
 * in a way that the channel adds. While the receiver keeps as much as it may of what came before its receives, short messages are
 * announced too.
 *
 * This file is the receiving half; the sending one is sender.ts. What a channel adds is in its own peer.ts.
 */
import { MpiError } from '../../errors.js';
import type { Incoming } from '../../incoming.js';
import type { UnexpectedMessage } from '../../matching.js';
import type { Request } from '../../request.js';
import { EAGER_MESSAGES, FRAGMENTED_MESSAGES, INLINE_MESSAGES } from '../../traffic.js';
import type { Peer } from '../channel.js';
import { UNEXPECTED_OVERHEAD_BYTES } from '../unexpected-limit.js';
import { CONTEXT, getAddress, getKey, getSize, INLINE, SIZE_LOW, TAG } from './cell.js';
import type { Inlet, Outlet } from './ends.js';
import {
  ABANDONED,
  ANNOUNCE,
  EAGER_LONG,
  EAGER_SYNCHRONOUS,
  FRAGMENT,
  ProtocolSender,
  REVOKE,
  REVOKED,
  TAKEN,
  type Thresholds,
  WANTED,
  type Waker,
} from './sender.js';

/** `receive` returns it for cells without payload beside them. */
export const NO_PAYLOAD = -1;

export abstract class ProtocolPeer extends ProtocolSender implements Peer {
  readonly #inlet: Inlet;
  readonly #unexpectedBytes: number;
  /** Receives that are under way, by their id. */
  protected readonly receiving = new Map<number, Request>();
  /** Messages that came before their receives and that the sender may take back, by its name for them. */
  readonly #revocable = new Map<number, UnexpectedMessage>();
  /** What came before its receive takes up so much. */
  #keptBytes = 0;
  /** The sender has been told that this is enough. */
  #isFull = false;

  constructor(
    rank: number,
    outlet: Outlet,
    inlet: Inlet,
    words: Int32Array,
    incoming: Incoming,
    waker: Waker,
    thresholds: Thresholds,
  ) {
    super(rank, outlet, words, incoming, waker, thresholds);
    this.#inlet = inlet;
    this.#unexpectedBytes = thresholds.unexpectedBytes;
  }

  /** Handles a cell of another kind than the shortest messages; returns the bytes of payload beside it, or NO_PAYLOAD. */
  protected receive(cell: number, kind: number): number {
    switch (kind) {
      case EAGER_LONG:
        return this.#receiveLong(cell, 0);
      case EAGER_SYNCHRONOUS:
        return this.#receiveLong(cell, this.words[cell + INLINE]);
      case FRAGMENT:
        return this.#receiveFragment(cell);
      case ANNOUNCE:
        this.#receiveAnnouncement(cell);
        break;
      case TAKEN:
        this.finishTaken(cell);
        break;
      case WANTED:
        this.beginStream(cell);
        break;
      case REVOKE:
        this.#revoke(this.words[cell + TAG]);
        break;
      case REVOKED:
        this.finishRevoked(this.words[cell + TAG]);
        break;
      case ABANDONED:
        this.#finishAbandoned(this.words[cell + TAG]);
        break;
      default:
        this.receiveOther(cell, kind);
    }
    return NO_PAYLOAD;
  }

  deliver(message: UnexpectedMessage, request: Request): void {
    const { tag, byteLength, sendId, payload } = message;
    if (sendId !== 0) this.#revocable.delete(sendId);
    if (payload === undefined) {
      this.#fetch(request, tag, byteLength, sendId, message.address, message.key);
      return;
    }
    this.#forget(byteLength);
    const fits = this.incoming.accept(request, this.rank, tag, byteLength);
    if (fits) this.incoming.fill(request, payload);
    if (sendId !== 0) this.reply(TAKEN, sendId);
  }

  override fail(error: (request: Request) => Error): void {
    super.fail(error);
    const lost = [...this.receiving.values()];
    this.receiving.clear();
    for (const request of lost) request.fail(error(request));
  }

  protected receiveShort(cell: number): void {
    const words = this.words;
    const tag = words[cell + TAG];
    const context = words[cell + CONTEXT];
    // Of a sender that lies no more than the cell is believed.
    const byteLength = words[cell + SIZE_LOW] & 0x3f;
    this.counts.addReceived(INLINE_MESSAGES, byteLength);
    const request = this.incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#keepWhole(cell, context, tag, byteLength, 0);
    } else if (this.incoming.accept(request, this.rank, tag, byteLength)) {
      this.#inlet.takeShort(cell, byteLength, request.memory);
      request.complete();
    }
  }

  /** Returns the bytes of payload that the cell had, as does receiveFragment. */
  #receiveLong(cell: number, sendId: number): number {
    const words = this.words;
    const tag = words[cell + TAG];
    const context = words[cell + CONTEXT];
    const byteLength = words[cell + SIZE_LOW];
    if (byteLength < 0 || byteLength > this.eagerBytes) {
      throw this.garbled(`a whole message of ${byteLength} bytes`);
    }
    this.counts.addReceived(EAGER_MESSAGES, byteLength);
    const request = this.incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#keepWhole(cell, context, tag, byteLength, sendId);
      return byteLength;
    }
    if (this.incoming.accept(request, this.rank, tag, byteLength)) {
      this.#inlet.takePayload(cell, byteLength, request.memory, 0);
      request.complete();
    }
    if (sendId !== 0) this.reply(TAKEN, sendId);
    return byteLength;
  }

  #keepWhole(cell: number, context: number, tag: number, byteLength: number, sendId: number): void {
    const payload = this.#inlet.takeCopy(cell, byteLength, sendId === 0);
    this.#keptBytes += byteLength + UNEXPECTED_OVERHEAD_BYTES;
    if (this.#keptBytes > this.#unexpectedBytes && !this.#isFull) {
      this.#isFull = true;
      this.#inlet.setCongested(true);
    }
    this.#keep(context, tag, byteLength, payload, sendId, 0, 0);
  }

  #keep(
    context: number,
    tag: number,
    byteLength: number,
    payload: Uint8Array | undefined,
    sendId: number,
    address: number,
    key: number,
  ): void {
    const { rank } = this;
    this.counts.addUnexpected();
    const message = this.incoming.keep(
      context,
      rank,
      tag,
      byteLength,
      this,
      payload,
      sendId,
      address,
      key,
    );
    if (sendId !== 0) this.#revocable.set(sendId, message);
  }

  /** What was kept is no longer. */
  #forget(byteLength: number): void {
    this.#keptBytes -= byteLength + UNEXPECTED_OVERHEAD_BYTES;
    if (this.#isFull && this.#keptBytes <= this.#unexpectedBytes / 2) {
      this.#isFull = false;
      this.#inlet.setCongested(false);
    }
  }

  #receiveAnnouncement(cell: number): void {
    const words = this.words;
    const tag = words[cell + TAG];
    const context = words[cell + CONTEXT];
    const byteLength = getSize(words, cell);
    const sendId = words[cell + INLINE];
    const address = getAddress(words, cell);
    const key = getKey(words, cell);
    const request = this.incoming.match(context, this.rank, tag);
    if (request === undefined) {
      this.#keep(context, tag, byteLength, undefined, sendId, address, key);
    } else {
      this.#fetch(request, tag, byteLength, sendId, address, key);
    }
  }

  /**
   * Brings a matched message, for which there is room, over from the sender's memory, whose address is 0 if it is not exposed;
   * false when it can't be done this way.
   */
  protected abstract bring(request: Request, sendId: number, address: number, key: number): boolean;

  /** The message is there, and the sender need not keep it any longer. */
  protected finishBrought(request: Request, sendId: number): void {
    this.counts.addReceived(this.takenProtocol, request.byteLength);
    this.reply(TAKEN, sendId);
    if (request.memory.isWhole) request.complete();
    else request.fail(this.incoming.shrunk(request));
  }

  /** A receive is under way no longer. */
  protected abstract finishReceiving(request: Request): void;

  /** What a channel adds to the protocol. */
  protected receiveOther(cell: number, kind: number): void {
    throw this.garbled(`a cell of kind ${kind}, at ${cell}`);
  }

  /** Brings a matched message over: straight from the sender's memory, or by asking for it. */
  #fetch(
    request: Request,
    tag: number,
    byteLength: number,
    sendId: number,
    address: number,
    key: number,
  ): void {
    if (this.failure !== undefined) {
      request.fail(this.failure(request));
      return;
    }
    if (!this.incoming.accept(request, this.rank, tag, byteLength)) {
      // The sender's part is done: a truncated receive is the receiver's error alone.
      this.reply(TAKEN, sendId);
      return;
    }
    if (this.bring(request, sendId, address, key)) return;
    const id = this.newId();
    this.receiving.set(id, request);
    this.reply(WANTED, sendId, id);
  }

  /** Unless a receive, or a matched probe, has the message: then the answer to that is on its way. */
  #revoke(sendId: number): void {
    const message = this.#revocable.get(sendId);
    if (message?.queue === undefined) return;
    this.#revocable.delete(sendId);
    this.incoming.unexpected.remove(message);
    if (message.payload !== undefined) this.#forget(message.byteLength);
    this.reply(REVOKED, sendId);
  }

  #finishAbandoned(id: number): void {
    const request = this.receiving.get(id);
    if (request === undefined) throw this.garbled(`the end of receive ${id}`);
    this.receiving.delete(id);
    this.finishReceiving(request);
    request.fail(
      new MpiError(
        'ERR_MPI_BUFFER',
        `${request.describe()}: rank ${this.rank} detached, transferred or shrunk its buffer while this message was ` +
          'under way; leave a buffer alone until its send is done',
        { operands: request.operands() },
      ),
    );
  }

  #receiveFragment(cell: number): number {
    const words = this.words;
    const id = words[cell + TAG];
    const offset = getSize(words, cell);
    const length = words[cell + INLINE];
    const request = this.receiving.get(id);
    if (
      request === undefined ||
      length <= 0 ||
      offset !== request.progressed ||
      offset + length > request.byteLength
    ) {
      throw this.garbled(`a fragment of ${length} bytes at ${offset} for receive ${id}`);
    }
    // Without its memory it goes on to the end of the message, since the sender knows nothing of that.
    if (request.memory.isWhole) {
      this.#inlet.takePayload(cell, length, request.memory, offset);
    }
    request.progressed = offset + length;
    if (request.progressed === request.byteLength) {
      this.receiving.delete(id);
      this.finishReceiving(request);
      this.counts.addReceived(FRAGMENTED_MESSAGES, request.byteLength);
      if (request.memory.isWhole) request.complete();
      else request.fail(this.incoming.shrunk(request));
    }
    return length;
  }
}
