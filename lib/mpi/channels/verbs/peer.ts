/**
 * The way to a rank by verbs: the protocol over a connection that is made when it is first needed, and long messages by RDMA.
 *
 * By read: the sender announces where the message stands, and its receiver reads it. By write: the receiver says where its memory
 * is, and the sender writes there. Memory that can't be registered goes in fragments.
 */
import {
  accessNumber,
  type CachedRegion,
  type RegistrationCache,
  VerbsError,
} from '../../../verbs/index.js';
import type { Incoming } from '../../incoming.js';
import type { Memory } from '../../memory.js';
import type { Request } from '../../request.js';
import { RDMA_READ_MESSAGES, RDMA_WRITE_MESSAGES, type TrafficCounters } from '../../traffic.js';
import type { Explanation } from '../channel.js';
import { CELL_WORDS, getAddress, getKey, INLINE, KIND, TAG } from '../protocol/cell.js';
import { NO_PAYLOAD, ProtocolPeer } from '../protocol/peer.js';
import { EAGER, type Thresholds } from '../protocol/sender.js';
import { type Connection, CREDIT, LEAVING, type Transfer } from './connection.js';
import { VerbsInlet, VerbsOutlet } from './ends.js';

/** The receiver wants the message written to its memory. */
const WRITE_WANTED = 32;
/** It has been. */
const WRITTEN = 33;
/** The receiver keeps as much as it may of what came before its receives, or (argument 0) no longer. */
const CONGESTION = 34;

/** How long messages go. */
export type LongProtocol = 'rdma-read' | 'rdma-write' | 'fragments';

/** One for all: memory that is sent and received into needs one registration. */
const ACCESS = accessNumber(['local-write', 'remote-write', 'remote-read']);
/** V8 keeps the bytes of smaller views among its own objects, and moves them. */
const SMALLEST_AT_REST_BYTES = 65;
/** Longer messages go by several requests. */
const LONGEST_TRANSFER_BYTES = 2 ** 30;
const NO_WORDS = new Int32Array(0);

/** What its channel does for a peer. */
export interface VerbsPeerParts {
  readonly incoming: Incoming;
  readonly thresholds: Thresholds;
  /** Room in a message beside its cell. */
  readonly payloadBytes: number;
  readonly longProtocol: LongProtocol;
  readonly whyLongProtocol: string;
  readonly cache: RegistrationCache;
  /** Device and provider, in words. */
  readonly deviceName: string;
}

/** A message on its way by RDMA. */
class LongTransfer implements Transfer {
  /** Bytes that are there. */
  #done = 0;
  #underWay = 0;

  constructor(
    readonly peer: VerbsPeer,
    readonly request: Request,
    readonly region: CachedRegion,
    readonly isRead: boolean,
    readonly address: number,
    readonly key: number,
    /** The peer's name for the message. */
    readonly theirId: number,
  ) {}

  /** Posts what is next; false when there is no room for it now. */
  begin(connection: Connection): boolean {
    const { request, region, address, key } = this;
    const done = this.#done;
    const length = Math.min(request.byteLength - done, LONGEST_TRANSFER_BYTES);
    const offset = region.offsetOf(request.memory.bytes) + done;
    if (!connection.transfer(this, this.isRead, region, offset, length, address + done, key)) {
      return false;
    }
    this.#underWay = length;
    return true;
  }

  /** Whether what was posted is all. */
  get isLast(): boolean {
    return this.#done + this.#underWay === this.request.byteLength;
  }

  finish(): void {
    this.#done += this.#underWay;
    this.#underWay = 0;
    this.peer.transferred(this, this.#done === this.request.byteLength);
  }
}

export class VerbsPeer extends ProtocolPeer {
  protected readonly takenProtocol = RDMA_READ_MESSAGES;
  readonly #parts: VerbsPeerParts;
  readonly #outlet: VerbsOutlet;
  readonly #inlet: VerbsInlet;
  #connection: Connection | undefined;
  /** Registered memory of sends that are announced, and of receives that are written to, by their requests. */
  readonly #regions = new Map<Request, CachedRegion>();
  /** Transfers that wait for room in the send queue. */
  readonly #waitingTransfers: LongTransfer[] = [];
  /** Those under way, whose memory the device uses. */
  readonly #transfers = new Set<LongTransfer>();
  /** The peer has said that nothing more comes. */
  hasLeft = false;

  static create(rank: number, parts: VerbsPeerParts): VerbsPeer {
    const outlet = new VerbsOutlet(parts.payloadBytes);
    const inlet = new VerbsInlet((isCongested) => {
      peer.reply(CONGESTION, 0, isCongested ? 1 : 0);
    });
    const peer: VerbsPeer = new VerbsPeer(rank, outlet, inlet, parts);
    return peer;
  }

  private constructor(rank: number, outlet: VerbsOutlet, inlet: VerbsInlet, parts: VerbsPeerParts) {
    super(rank, outlet, inlet, NO_WORDS, parts.incoming, AWAKE, parts.thresholds);
    this.#parts = parts;
    this.#outlet = outlet;
    this.#inlet = inlet;
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Gives it the connection that it will send and receive by. */
  attach(connection: Connection): void {
    this.#connection = connection;
    this.words = connection.words;
    this.#outlet.attach(connection);
    this.#inlet.attach(connection);
  }

  /** Handles the message in a receive buffer: one or more cells. */
  handle(slot: number, byteLength: number): void {
    const connection = this.#connection as Connection;
    const words = this.words;
    const first = connection.received(slot);
    const kind = words[first + KIND] & 0xff;
    if (kind === CREDIT || kind === LEAVING) {
      if (kind === LEAVING) this.hasLeft = true;
      connection.release(false);
      return;
    }
    const end = first + byteLength / 4;
    for (let cell = first; cell < end; cell += CELL_WORDS) {
      const its = words[cell + KIND] & 0xff;
      if (its === EAGER) this.receiveShort(cell);
      else if (this.receive(cell, its) !== NO_PAYLOAD) break;
    }
    connection.release(true);
  }

  /** A part of a transfer is there, or all of it. */
  transferred(transfer: LongTransfer, isAll: boolean): void {
    if (!this.#transfers.has(transfer)) return;
    if (!isAll) {
      this.#startTransfer(transfer);
      return;
    }
    this.#transfers.delete(transfer);
    const { request, isRead, region, theirId } = transfer;
    region.release();
    if (!isRead) {
      this.counts.addSent(RDMA_WRITE_MESSAGES, request.byteLength);
      request.complete();
    } else {
      this.finishBrought(request, theirId);
    }
  }

  override push(): boolean {
    let moved = false;
    while (this.#waitingTransfers.length > 0 && this.#tryTransfer(this.#waitingTransfers[0])) {
      this.#waitingTransfers.shift();
      moved = true;
    }
    this.#outlet.open();
    try {
      if (super.push()) moved = true;
    } finally {
      this.#outlet.flush();
    }
    return moved;
  }

  protected override get hasMore(): boolean {
    return this.#waitingTransfers.length > 0;
  }

  override fail(error: (request: Request) => Error): void {
    this.#connection?.abort();
    const lost = [...this.#transfers, ...this.#waitingTransfers];
    this.#transfers.clear();
    this.#waitingTransfers.length = 0;
    super.fail(error);
    for (const { request, region } of lost) {
      region.release();
      request.fail(error(request));
    }
    for (const region of this.#regions.values()) region.release();
    this.#regions.clear();
  }

  override pending(): Request[] {
    const writes = [...this.#transfers, ...this.#waitingTransfers].filter(({ isRead }) => !isRead);
    return [...super.pending(), ...writes.map(({ request }) => request)];
  }

  override counters(): TrafficCounters {
    return { ...super.counters(), registrationCache: this.#parts.cache.stats() };
  }

  protected expose(request: Request): number {
    if (this.#parts.longProtocol !== 'rdma-read') return 0;
    const region = this.#register(request.memory);
    if (region === undefined) return 0;
    this.#regions.set(request, region);
    this.exposedKey = region.rkey;
    return addressIn(region, request.memory);
  }

  protected conceal(request: Request): void {
    const region = this.#regions.get(request);
    if (region === undefined) return;
    this.#regions.delete(request);
    region.release();
  }

  protected bring(request: Request, sendId: number, address: number, key: number): boolean {
    const byWrite = this.#parts.longProtocol === 'rdma-write';
    if (!byWrite && address === 0) return false;
    const region = this.#register(request.memory, request.byteLength);
    if (region === undefined) return false;
    if (byWrite) {
      const id = this.newId();
      this.receiving.set(id, request);
      this.#regions.set(request, region);
      this.reply(WRITE_WANTED, sendId, id, addressIn(region, request.memory), region.rkey);
    } else {
      this.#startTransfer(new LongTransfer(this, request, region, true, address, key, sendId));
    }
    return true;
  }

  protected override receiveOther(cell: number, kind: number): void {
    const { words } = this;
    switch (kind) {
      case WRITE_WANTED:
        this.#write(cell);
        break;
      case WRITTEN:
        this.#finishWritten(words[cell + TAG]);
        break;
      case CONGESTION:
        this.#outlet.isCongested = words[cell + INLINE] !== 0;
        if (this.#outlet.isCongested) this.#outlet.onCongestion();
        break;
      default:
        super.receiveOther(cell, kind);
    }
  }

  protected finishReceiving(request: Request): void {
    this.conceal(request);
  }

  protected explainWhole(protocol: 'inline' | 'eager', reason: string): Explanation {
    return { channel: 'verbs', protocol, reason: `${reason}, ${this.#way()}` };
  }

  protected explainAnnounced(byteLength: number, why: string): Explanation {
    const { longProtocol, whyLongProtocol } = this.#parts;
    if (byteLength < SMALLEST_AT_REST_BYTES || longProtocol === 'fragments') {
      const how = `in fragments of ${this.fragmentBytes} bytes`;
      return { channel: 'verbs', protocol: 'fragments', reason: `${why}, ${how}, ${this.#way()}` };
    }
    const how = longProtocol === 'rdma-read' ? 'by its receiver' : 'by its sender';
    return {
      channel: 'verbs',
      protocol: longProtocol,
      reason: `${why}, and it goes from memory to memory ${how}, ${whyLongProtocol}; ${this.#way()}`,
    };
  }

  /** Device and path, in words. */
  #way(): string {
    const { deviceName } = this.#parts;
    if (this.#connection === undefined) return `over ${deviceName}, not connected yet`;
    try {
      const { path, reason } = this.#connection.qp.explain();
      return `over ${deviceName}, path ${path}: ${reason}`;
    } catch (error) {
      if (!(error instanceof VerbsError)) throw error;
      // Only the software HCA knows its paths.
      return `over ${deviceName}`;
    }
  }

  #register(memory: Memory, byteLength = memory.byteLength): CachedRegion | undefined {
    if (byteLength < SMALLEST_AT_REST_BYTES) return undefined;
    try {
      return this.#parts.cache.acquire(memory.bytes, ACCESS);
    } catch (error) {
      // Memory that can't be registered, or not now: fragments need none.
      if (error instanceof VerbsError) return undefined;
      throw error;
    }
  }

  #startTransfer(transfer: LongTransfer): void {
    if (this.#waitingTransfers.length > 0 || !this.#tryTransfer(transfer)) {
      this.#waitingTransfers.push(transfer);
      this.stall();
    }
  }

  #tryTransfer(transfer: LongTransfer): boolean {
    this.#outlet.flush();
    this.#transfers.add(transfer);
    if (!transfer.begin(this.#connection as Connection)) {
      this.#transfers.delete(transfer);
      return false;
    }
    // Behind the data, so that it comes after them.
    if (!transfer.isRead && transfer.isLast) this.reply(WRITTEN, transfer.theirId);
    return true;
  }

  #write(cell: number): void {
    const { words } = this;
    const theirId = words[cell + INLINE];
    const address = getAddress(words, cell);
    const key = getKey(words, cell);
    const sendId = words[cell + TAG];
    const request = this.takeAnnounced(sendId, 'a demand for');
    const region = request.memory.isWhole ? this.#register(request.memory) : undefined;
    if (region === undefined) this.streamTo(request, theirId);
    else this.#startTransfer(new LongTransfer(this, request, region, false, address, key, theirId));
  }

  #finishWritten(id: number): void {
    const request = this.receiving.get(id);
    if (request === undefined) throw this.garbled(`the end of receive ${id}`);
    this.receiving.delete(id);
    this.conceal(request);
    this.counts.addReceived(RDMA_WRITE_MESSAGES, request.byteLength);
    if (request.memory.isWhole) request.complete();
    else request.fail(this.incoming.shrunk(request));
  }
}

/** A message wakes its receiver by its completion. */
const AWAKE = {
  wake(): void {
    // Nothing else is needed.
  },
};

function addressIn(region: CachedRegion, memory: Memory): number {
  return Number(region.address) + region.offsetOf(memory.bytes);
}
