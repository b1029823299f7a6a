/** A ring of send work requests in one ArrayBuffer: written in place, posted in batches by one native call. */
import type { AddressHandle } from '../address-handle.js';
import { INLINE, WR_OPCODE } from '../enumerations.js';
import { argumentError, attempt } from '../errors.js';
import type { MemoryRegion, RegisteredMemory } from '../memory-region.js';
import type { MemoryWindow } from '../memory-window.js';
import { native } from '../native.js';
import { Resource } from '../resource.js';
import { ENTRY, RING_KIND, SEND, sendStrideBytes, TWO_32 } from './layout.js';

const OP = WR_OPCODE;

/**
 * Work requests that are written and posted without anything being allocated. Make one with `qp.sendRing(capacity)`.
 *
 * Each method writes the whole of one slot. A slot that was posted may be written again at once, or posted again as
 * it is: the device has its own copy. 64-bit addresses are given as two halves; an `id` is a whole number up to 2^53.
 * `flags` are `SIGNALED`, `SOLICITED` and `FENCE`, or-ed.
 *
 * ```ts
 * import { openDevice, SIGNALED } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const mine = new BigUint64Array([40n, 0n]);
 * const here = pd.registerMemory(mine);
 * const theirs = new BigUint64Array(1);
 * const there = pd.registerMemory(theirs, ['local-write', 'remote-write', 'remote-atomic']);
 *
 * // Writes 40 and adds 2, by one native call; only the last is completed.
 * const { addressLow, addressHigh, rkey } = there; // in life the peer's
 * const requests = qp.sendRing(2);
 * requests.rdmaWrite(0, 1, here, 0, 8, addressLow, addressHigh, rkey, 0);
 * requests.fetchAdd(1, 2, here, 8, addressLow, addressHigh, rkey, 2, 0, SIGNALED);
 * qp.post(requests, 0, 2);
 * console.log((await cq.next({ timeoutMs: 5000 })).check().id); // prints 2
 * console.log(theirs[0], mine[1]); // prints 42n 40n
 * ```
 */
export class SendRing extends Resource {
  /** Slots; they go from 0 to `capacity - 1`. */
  readonly capacity: number;
  /** Pieces of memory that each slot has room for. */
  readonly maxSge: number;
  /** Inline bytes that each slot has room for. */
  readonly maxInlineBytes: number;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #strideWords: number;
  readonly #inlineOffset: number;

  /** @internal */
  static create(
    owner: Resource,
    capacity: number,
    maxSge: number,
    maxInlineBytes: number,
  ): SendRing {
    const stride = sendStrideBytes(maxSge, maxInlineBytes);
    const buffer = ringMemory('sendRing', capacity, stride);
    const handle = attempt('sendRing', { capacity }, () =>
      native.createRing(buffer, RING_KIND.send, capacity, maxSge, maxInlineBytes),
    );
    return new SendRing(owner, handle, buffer, capacity, maxSge, maxInlineBytes, stride);
  }

  private constructor(
    owner: Resource,
    handle: number,
    buffer: ArrayBuffer,
    capacity: number,
    maxSge: number,
    maxInlineBytes: number,
    strideBytes: number,
  ) {
    super('send ring', handle, [owner]);
    this.capacity = capacity;
    this.maxSge = maxSge;
    this.maxInlineBytes = maxInlineBytes;
    this.#words = new Uint32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#strideWords = strideBytes / 4;
    this.#inlineOffset = 64 + 16 * maxSge;
  }

  /** Sends `length` bytes from `offset` of the region; they arrive in a receive of the peer. */
  send(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP.send, flags);
    this.#only(at, region, offset, length);
  }

  /** As `send`, with 32 bits for the peer's completion. */
  sendWithImm(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    immediate: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['send-with-imm'], flags);
    this.#words[at + SEND.immediate] = immediate;
    this.#only(at, region, offset, length);
  }

  /** As `send`; ends the peer's remote key `rkey` when it arrives. */
  sendWithInvalidate(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    rkey: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['send-with-invalidate'], flags);
    this.#words[at + SEND.immediate] = rkey;
    this.#only(at, region, offset, length);
  }

  /** Writes `length` bytes from `offset` of the region into the peer's memory. */
  rdmaWrite(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    remoteLow: number,
    remoteHigh: number,
    rkey: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['rdma-write'], flags);
    this.#remote(at, remoteLow, remoteHigh, rkey);
    this.#only(at, region, offset, length);
  }

  /** As `rdmaWrite`; takes a receive of the peer, whose completion gets the 32 bits. */
  rdmaWriteWithImm(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    remoteLow: number,
    remoteHigh: number,
    rkey: number,
    immediate: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['rdma-write-with-imm'], flags);
    this.#remote(at, remoteLow, remoteHigh, rkey);
    this.#words[at + SEND.immediate] = immediate;
    this.#only(at, region, offset, length);
  }

  /** Reads `length` bytes of the peer's memory to `offset` of the region. */
  rdmaRead(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
    remoteLow: number,
    remoteHigh: number,
    rkey: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['rdma-read'], flags);
    this.#remote(at, remoteLow, remoteHigh, rkey);
    this.#only(at, region, offset, length);
  }

  /** Adds a 64-bit number to the peer's 8 bytes, which are aligned to 8; their old value comes to `offset`. */
  fetchAdd(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    remoteLow: number,
    remoteHigh: number,
    rkey: number,
    addLow: number,
    addHigh: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['fetch-add'], flags);
    this.#remote(at, remoteLow, remoteHigh, rkey);
    this.#words[at + SEND.compareLow] = addLow;
    this.#words[at + SEND.compareHigh] = addHigh;
    this.#only(at, region, offset, 8);
  }

  /** Replaces the peer's 8 bytes, aligned to 8, if they equal `compare`; their old value comes to `offset`. */
  compareSwap(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    remoteLow: number,
    remoteHigh: number,
    rkey: number,
    compareLow: number,
    compareHigh: number,
    swapLow: number,
    swapHigh: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['compare-swap'], flags);
    this.#remote(at, remoteLow, remoteHigh, rkey);
    const words = this.#words;
    words[at + SEND.compareLow] = compareLow;
    words[at + SEND.compareHigh] = compareHigh;
    words[at + SEND.swapLow] = swapLow;
    words[at + SEND.swapHigh] = swapHigh;
    this.#only(at, region, offset, 8);
  }

  /** Ends a remote key of this side: that of a type 2 window. */
  localInvalidate(slot: number, id: number, rkey: number, flags: number): void {
    const at = this.#begin(slot, id, OP['local-invalidate'], flags);
    this.#words[at + SEND.immediate] = rkey;
  }

  /**
   * Binds a type 2 window to a part of a region under a new key; see `window.nextRkey()`.
   *
   * @param accessFlags of `accessNumber`
   */
  bindWindow(
    slot: number,
    id: number,
    window: MemoryWindow,
    region: MemoryRegion,
    offset: number,
    length: number,
    accessFlags: number,
    rkey: number,
    flags: number,
  ): void {
    const at = this.#begin(slot, id, OP['bind-mw'], flags);
    const words = this.#words;
    const low = region.addressLow + offset;
    words[at + SEND.remoteLow] = low >>> 0;
    words[at + SEND.remoteHigh] = region.addressHigh + Math.floor(low / TWO_32);
    words[at + SEND.rkey] = rkey;
    words[at + SEND.object] = window.handle;
    words[at + SEND.remoteQpn] = region.handle;
    words[at + SEND.remoteQkey] = accessFlags;
    words[at + SEND.compareLow] = length >>> 0;
    words[at + SEND.compareHigh] = Math.floor(length / TWO_32);
  }

  /** Sends the slot's bytes from the slot itself: they are copied here, and need no registration. */
  setInline(slot: number, data: Uint8Array): void {
    const at = this.#at(slot);
    if (data.length > this.maxInlineBytes) throw this.#tooLongForInline(data.length);
    this.#bytes.set(data, at * 4 + this.#inlineOffset);
    this.#words[at + SEND.length] = data.length;
    this.#words[at + SEND.flags] = (this.#words[at + SEND.flags] ?? 0) | INLINE;
  }

  /**
   * As `setInline`, from the words that hold the bytes: nothing is called for it, which is quicker for a few.
   *
   * @param from index of the first word
   */
  setInlineWords(slot: number, words: Int32Array, from: number, byteLength: number): void {
    const at = this.#at(slot);
    if (!(byteLength <= this.maxInlineBytes)) throw this.#tooLongForInline(byteLength);
    const count = (byteLength + 3) >> 2;
    const target = at + (this.#inlineOffset >> 2);
    for (let k = 0; k < count; k++) this.#words[target + k] = words[from + k] ?? 0;
    this.#words[at + SEND.length] = byteLength;
    this.#words[at + SEND.flags] = (this.#words[at + SEND.flags] ?? 0) | INLINE;
  }

  /**
   * Begins a request of any kind: the setters that follow complete it.
   *
   * @param opcode of ibv_wr_opcode
   */
  start(slot: number, id: number, opcode: number, flags: number): void {
    this.#begin(slot, id, opcode, flags);
  }

  /** Where an RDMA or atomic request goes. */
  setRemote(slot: number, remoteLow: number, remoteHigh: number, rkey: number): void {
    this.#remote(this.#at(slot), remoteLow, remoteHigh, rkey);
  }

  /** Immediate data, or the key to invalidate, for a request begun by `start`. */
  setImmediate(slot: number, immediate: number): void {
    this.#words[this.#at(slot) + SEND.immediate] = immediate;
  }

  /** What an atomic works with: for compare-and-swap two numbers, for fetch-and-add the first is added. */
  setAtomic(
    slot: number,
    compareLow: number,
    compareHigh: number,
    swapLow: number,
    swapHigh: number,
  ): void {
    const at = this.#at(slot);
    this.#words[at + SEND.compareLow] = compareLow;
    this.#words[at + SEND.compareHigh] = compareHigh;
    this.#words[at + SEND.swapLow] = swapLow;
    this.#words[at + SEND.swapHigh] = swapHigh;
  }

  /** Where a datagram goes (UD). */
  setDatagram(slot: number, address: AddressHandle, remoteQpn: number, remoteQkey: number): void {
    const at = this.#at(slot);
    this.#words[at + SEND.object] = address.handle;
    this.#words[at + SEND.remoteQpn] = remoteQpn;
    this.#words[at + SEND.remoteQkey] = remoteQkey;
  }

  /** The peer's shared receive queue (XRC). */
  setSharedReceiveQueue(slot: number, srqNum: number): void {
    this.#words[this.#at(slot) + SEND.object] = srqNum;
  }

  /** One more piece of memory to gather from, or to scatter to. */
  addEntry(slot: number, region: RegisteredMemory, offset: number, length: number): void {
    const at = this.#at(slot);
    const count = this.#words[at + SEND.length] ?? 0;
    if (count >= this.maxSge) throw this.#tooManyEntries();
    checkRange(region, offset, length);
    writeEntry(this.#words, at + SEND.entries + count * ENTRY.words, region, offset, length);
    this.#words[at + SEND.length] = count + 1;
  }

  /** The same for memory known by its address and key alone; the device checks them. */
  addRawEntry(slot: number, address: bigint, length: number, lkey: number): void {
    const at = this.#at(slot);
    const count = this.#words[at + SEND.length] ?? 0;
    if (count >= this.maxSge) throw this.#tooManyEntries();
    writeRawEntry(this.#words, at + SEND.entries + count * ENTRY.words, address, length, lkey);
    this.#words[at + SEND.length] = count + 1;
  }

  /** The flags of a slot. */
  flags(slot: number): number {
    return this.#words[this.#at(slot) + SEND.flags] ?? 0;
  }

  #tooLongForInline(length: number): Error {
    return argumentError(
      'sendRing.setInline',
      `${length} bytes are more than this queue pair sends inline (${this.maxInlineBytes}); ` +
        'create it with a larger maxInlineBytes, or register the memory',
      { length, maxInlineBytes: this.maxInlineBytes },
    );
  }

  #tooManyEntries(): Error {
    return argumentError(
      'sendRing.addEntry',
      `this queue pair gathers from at most ${this.maxSge} pieces; create it with a larger maxSendSge`,
      { maxSge: this.maxSge },
    );
  }

  #at(slot: number): number {
    if (!(slot >= 0 && slot < this.capacity)) throw outsideRing(slot, this.capacity);
    return slot * this.#strideWords;
  }

  #begin(slot: number, id: number, opcode: number, flags: number): number {
    const at = this.#at(slot);
    const words = this.#words;
    words[at] = id;
    words[at + SEND.idHigh] = id < TWO_32 ? 0 : highWord(id);
    words[at + SEND.opcode] = opcode;
    words[at + SEND.flags] = flags;
    words[at + SEND.length] = 0;
    return at;
  }

  #remote(at: number, remoteLow: number, remoteHigh: number, rkey: number): void {
    const words = this.#words;
    words[at + SEND.remoteLow] = remoteLow;
    words[at + SEND.remoteHigh] = remoteHigh;
    words[at + SEND.rkey] = rkey;
  }

  #only(at: number, region: RegisteredMemory, offset: number, length: number): void {
    checkRange(region, offset, length);
    const words = this.#words;
    words[at + SEND.length] = 1;
    writeEntry(words, at + SEND.entries, region, offset, length);
  }
}

/** The upper half of a number up to 2^53. */
export function highWord(id: number): number {
  if (Number.isSafeInteger(id)) return Math.floor(id / TWO_32);
  throw argumentError('post', `an id is a whole number from 0 to 2^53 - 1, not ${id}`, { id });
}

export function outsideRing(slot: number, capacity: number): Error {
  return argumentError('ring', `there is no slot ${slot}; they go from 0 to ${capacity - 1}`, {
    slot,
    capacity,
  });
}

export function checkRange(region: RegisteredMemory, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= region.byteLength) return;
  throw argumentError(
    'post',
    `bytes ${offset} to ${offset + length} do not lie in this region of ${region.byteLength} bytes`,
    { offset, length, byteLength: region.byteLength },
  );
}

export function writeEntry(
  words: Uint32Array,
  at: number,
  region: RegisteredMemory,
  offset: number,
  length: number,
): void {
  const low = region.addressLow + offset;
  words[at] = low;
  words[at + ENTRY.addressHigh] =
    region.addressHigh + (low < TWO_32 ? 0 : Math.floor(low / TWO_32));
  words[at + ENTRY.length] = length;
  words[at + ENTRY.lkey] = region.lkey;
}

export function writeRawEntry(
  words: Uint32Array,
  at: number,
  address: bigint,
  length: number,
  lkey: number,
): void {
  words[at] = Number(address & 0xffffffffn);
  words[at + ENTRY.addressHigh] = Number(address >> 32n);
  words[at + ENTRY.length] = length;
  words[at + ENTRY.lkey] = lkey;
}

export function ringMemory(call: string, capacity: number, strideBytes: number): ArrayBuffer {
  if (!(Number.isSafeInteger(capacity) && capacity > 0 && capacity < 1 << 20)) {
    throw argumentError(call, `a ring has 1 to 1048575 slots, not ${capacity}`, { capacity });
  }
  return new ArrayBuffer(capacity * strideBytes);
}
