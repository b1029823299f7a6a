/**
 * A reliable connection to one rank: a queue pair, and one piece of registered memory with the buffers of both directions.
 *
 * Work requests go out in order and complete in order, so slots of the send queue, and the buffers that belong to them, are
 * numbers that follow each other; a completion is asked for once in a while, and frees all slots up to its own. Receive buffers
 * are used in turn, too.
 *
 * A message needs a credit: a receive buffer that the peer has posted and that nothing was sent into. In the first word of each
 * message is the number of credits that its sender has ever given; where no message goes that way, one of kind CREDIT does, which
 * needs none, because buffers are kept for it: half of those for messages must be free again before another goes.
 */
import {
  type CompletionQueue,
  type Endpoint,
  type MemoryRegion,
  type ProtectionDomain,
  type QueuePair,
  type ReceiveRing,
  type RegisteredMemory,
  type SendRing,
  SIGNALED,
} from '../../../verbs/index.js';
import { CELL_BYTES, KIND } from '../protocol/cell.js';
import { receiveId, sendId } from './numbers.js';

/** Word of a message's first cell: credits that its sender has given since the start, modulo 2^32. */
const CREDITS = 0;
/** Kind of a message that says no more than that. */
export const CREDIT = 0;
/** Kind of the last message of all. */
export const LEAVING = 255;
/** Bytes of a cell before what is in line. */
export const HEADER_BYTES = 24;

/** What a connection is made of. */
export interface ConnectionSizes {
  /** Bytes that one message may have beside its cell. */
  readonly payloadBytes: number;
  /** Messages that may be under way to a rank; a power of two, 4 or more. */
  readonly credits: number;
}

/** Requests of the send queue that are kept for credits and signs of life. */
const KEPT_SLOTS = 4;
/**
 * When a packet is sent again for which no answer has come, as the exponent of 4.096 µs · 2^t. The software HCA's packets are
 * lost where a socket's buffer is full, so it must not wait long; adapters lose few, and emulated ones are slow: so it fails
 * after a second, they after eight.
 */
const TIMEOUT = { softhca: 15, system: 18 } as const;
const ACCESS = ['local-write', 'remote-write', 'remote-read'] as const;

/** What becomes of a transfer by RDMA once it is completed. */
export interface Transfer {
  finish(): void;
}

/** How far two ranks are with connecting; each tells the other. */
export const GREETED = 0;
/** This end can send and receive. */
export const CONNECTED = 1;
/** The other end can, too: messages may go. */
export const READY = 2;

export class Connection {
  readonly endpoint: Endpoint;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  state = GREETED;
  /** Something has come since that was last looked at. */
  wasHeard = false;
  readonly #owner: number;
  readonly #qp: QueuePair;
  readonly #pool: MemoryRegion;
  readonly #slotBytes: number;

  readonly #sends: SendRing;
  /** Slots of the send queue; a power of two. */
  readonly #depth: number;
  readonly #signalEvery: number;
  readonly #firstSend: number;
  readonly #inlineBytes: number;
  /** Requests posted and completed since the start, modulo 2^32. */
  #posted = 0;
  #completed = 0;
  #unsignaled = 0;
  #isKnocking = false;
  /** The peer's adapter has all that was ever sent. */
  isDelivered = false;
  readonly #knocked: Transfer = {
    finish: () => {
      this.#isKnocking = false;
    },
  };
  readonly #left: Transfer = {
    finish: () => {
      this.isDelivered = true;
    },
  };
  readonly #transfers: (Transfer | undefined)[];
  /** Messages sent that took a credit, and credits given by the peer, modulo 2^32. */
  #spent = 0;
  #granted: number;

  readonly #receives: ReceiveRing;
  readonly #buffers: number;
  readonly #repostEvery: number;
  readonly #credits: number;
  /** The first buffer that was taken and not posted again. */
  #firstTaken = 0;
  #taken = 0;
  /** How many of those held messages that took a credit. */
  #takenCredits = 0;
  /** Credits given to the peer, and those that it was told of, modulo 2^32. */
  #given: number;
  #told: number;

  constructor(
    rank: number,
    pd: ProtectionDomain,
    cq: CompletionQueue,
    { payloadBytes, credits }: ConnectionSizes,
  ) {
    this.#owner = rank + 1;
    this.#slotBytes = CELL_BYTES + Math.ceil(payloadBytes / CELL_BYTES) * CELL_BYTES;
    this.#credits = credits;
    this.#buffers = credits + credits / 2;
    this.#repostEvery = credits / 4;
    this.#depth = 2 * credits;
    this.#signalEvery = credits / 4;
    this.#given = credits;
    this.#told = credits;
    this.#granted = credits;
    this.#transfers = new Array<Transfer | undefined>(this.#depth).fill(undefined);
    this.#qp = pd.createQp({
      type: 'RC',
      sendCq: cq,
      maxSendWr: this.#depth,
      maxRecvWr: this.#buffers,
      maxInlineBytes: CELL_BYTES,
    });
    this.#inlineBytes = this.#qp.cap.maxInlineData;
    this.#pool = pd.allocateMemory((this.#buffers + this.#depth) * this.#slotBytes);
    const { buffer } = this.#pool.view as Uint8Array<ArrayBuffer>;
    this.words = new Int32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.#firstSend = this.#buffers * this.#slotBytes;
    this.#sends = this.#qp.sendRing(this.#depth);
    this.#receives = this.#qp.receiveRing(this.#buffers);
    this.endpoint = this.#qp.endpoint();
    this.#qp.prepare({ access: ACCESS });
    for (let slot = 0; slot < this.#buffers; slot++) {
      const id = receiveId(this.#owner, slot);
      this.#receives.receive(slot, id, this.#pool, slot * this.#slotBytes, this.#slotBytes);
    }
    this.#qp.postReceives(this.#receives, 0, this.#buffers);
  }

  /** Completions that a connection of these sizes may have. */
  static completions({ credits }: ConnectionSizes): number {
    return credits + credits / 2 + 2 * credits;
  }

  get qp(): QueuePair {
    return this.#qp;
  }

  connect(theirs: Endpoint): void {
    this.#qp.connect(theirs, { access: ACCESS, timeout: TIMEOUT[this.#qp.device.provider] });
    this.state = CONNECTED;
  }

  /** First word of the buffer of the next message to send, or -1 when there is no room or credit for one now. */
  claim(): number {
    if (this.state !== READY || this.#spent === this.#granted) return -1;
    if (((this.#posted - this.#completed) | 0) >= this.#depth - KEPT_SLOTS) return -1;
    return this.#nextBuffer() / 4;
  }

  /** Sends the message of so many bytes that was written to what `claim` returned. */
  send(byteLength: number): void {
    this.#spent = (this.#spent + 1) | 0;
    this.#post(byteLength);
  }

  /** Begins a transfer between memory here and the peer's; false when there is no room for one now. */
  transfer(
    transfer: Transfer,
    isRead: boolean,
    region: RegisteredMemory,
    offset: number,
    length: number,
    address: number,
    key: number,
  ): boolean {
    if (this.state !== READY) return false;
    if (((this.#posted - this.#completed) | 0) >= this.#depth - KEPT_SLOTS) return false;
    const slot = this.#posted & (this.#depth - 1);
    const id = sendId(this.#owner, slot);
    const low = address >>> 0;
    const high = Math.floor(address / 2 ** 32);
    const sends = this.#sends;
    if (isRead) sends.rdmaRead(slot, id, region, offset, length, low, high, key, SIGNALED);
    else sends.rdmaWrite(slot, id, region, offset, length, low, high, key, SIGNALED);
    this.#qp.post(sends, slot, 1);
    this.#transfers[slot] = transfer;
    this.#posted = (this.#posted + 1) | 0;
    this.#unsignaled = 0;
    return true;
  }

  /**
   * Asks the peer's adapter, not its program, for a sign of life: nothing is written, and no key is needed for that (InfiniBand
   * Vol. 1, C9-88). If none comes, the completion fails.
   */
  knock(): void {
    if (this.#isKnocking) return;
    this.#isKnocking = this.transfer(this.#knocked, false, this.#pool, 0, 0, 0, 0);
  }

  /** Tells the peer that nothing comes after this. */
  leave(): void {
    if (this.state !== READY || ((this.#posted - this.#completed) | 0) >= this.#depth) return;
    this.words[this.#nextBuffer() / 4 + KIND] = LEAVING;
    this.#unsignaled = this.#signalEvery;
    this.#transfers[this.#posted & (this.#depth - 1)] = this.#left;
    this.#post(HEADER_BYTES);
  }

  /** Frees the slots up to one whose completion has come; true if a transfer is among them. */
  complete(slot: number): boolean {
    const mask = this.#depth - 1;
    const behind = (slot - this.#completed) & mask;
    this.#completed = (this.#completed + behind + 1) | 0;
    const transfer = this.#transfers[slot];
    if (transfer === undefined) return false;
    this.#transfers[slot] = undefined;
    transfer.finish();
    return true;
  }

  /** First word of the message in a receive buffer. */
  received(slot: number): number {
    const cell = (slot * this.#slotBytes) / 4;
    this.wasHeard = true;
    this.state = READY;
    this.#granted = this.words[cell + CREDITS];
    return cell;
  }

  /** The message in the oldest receive buffer has been dealt with. */
  release(tookCredit: boolean): void {
    if (tookCredit) this.#takenCredits++;
    if (++this.#taken < this.#repostEvery) return;
    const first = this.#firstTaken;
    const untilEnd = this.#buffers - first;
    const count = this.#taken;
    if (count <= untilEnd) {
      this.#qp.postReceives(this.#receives, first, count);
    } else {
      this.#qp.postReceives(this.#receives, first, untilEnd);
      this.#qp.postReceives(this.#receives, 0, count - untilEnd);
    }
    this.#firstTaken = (first + count) % this.#buffers;
    this.#given = (this.#given + this.#takenCredits) | 0;
    this.#taken = 0;
    this.#takenCredits = 0;
    this.tellCredits();
  }

  /** Tells the peer of its credits if it has not heard of them by messages. */
  tellCredits(): void {
    if (((this.#given - this.#told) | 0) < this.#credits / 2) return;
    if (((this.#posted - this.#completed) | 0) >= this.#depth) return;
    this.words[this.#nextBuffer() / 4 + KIND] = CREDIT;
    this.#post(HEADER_BYTES);
  }

  /** Ends all that is under way: nothing is written to the program's memory from now on. */
  abort(): void {
    this.state = GREETED;
    this.#transfers.fill(undefined);
    if (!this.#qp.closed) this.#qp.modify({ qpState: 'ERR' });
  }

  #nextBuffer(): number {
    return this.#firstSend + (this.#posted & (this.#depth - 1)) * this.#slotBytes;
  }

  #post(byteLength: number): void {
    const slot = this.#posted & (this.#depth - 1);
    const place = this.#firstSend + slot * this.#slotBytes;
    const words = this.words;
    words[place / 4 + CREDITS] = this.#given;
    this.#told = this.#given;
    const isSignaled = ++this.#unsignaled >= this.#signalEvery;
    if (isSignaled) this.#unsignaled = 0;
    const sends = this.#sends;
    const flags = isSignaled ? SIGNALED : 0;
    sends.send(slot, sendId(this.#owner, slot), this.#pool, place, byteLength, flags);
    if (byteLength <= this.#inlineBytes) sends.setInlineWords(slot, words, place / 4, byteLength);
    this.#qp.post(sends, slot, 1);
    this.#posted = (this.#posted + 1) | 0;
  }
}
