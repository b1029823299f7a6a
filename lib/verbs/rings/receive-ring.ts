/** A ring of receive work requests in one ArrayBuffer. */
import { argumentError, attempt } from '../errors.js';
import type { RegisteredMemory } from '../memory-region.js';
import { native } from '../native.js';
import { Resource } from '../resource.js';
import { ENTRY, RECEIVE, receiveStrideBytes, RING_KIND, TWO_32 } from './layout.js';
import {
  checkRange,
  highWord,
  outsideRing,
  ringMemory,
  writeEntry,
  writeRawEntry,
} from './send-ring.js';

/**
 * Receive work requests that are written in place. Make one with `qp.receiveRing(n)` or `srq.receiveRing(n)`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq, maxInlineBytes: 8 });
 * qp.connect(qp.endpoint()); // to itself
 * const mr = pd.registerMemory(new Uint8Array(4 * 64));
 *
 * const receives = qp.receiveRing(4);
 * for (let i = 0; i < 4; i++) receives.receive(i, i, mr, i * 64, 64);
 * qp.postReceives(receives, 0, 4);
 * qp.postSend({ opcode: 'send', inline: Buffer.from('hello') });
 * console.log((await cq.next({ timeoutMs: 5000 })).check().id); // prints 0
 * qp.postReceives(receives, 0, 1); // slot 0 again, as it is
 * ```
 */
export class ReceiveRing extends Resource {
  /** Slots; they go from 0 to `capacity - 1`. */
  readonly capacity: number;
  /** Pieces of memory that each slot has room for. */
  readonly maxSge: number;
  readonly #words: Uint32Array;
  readonly #strideWords: number;

  /** @internal */
  static create(owner: Resource, capacity: number, maxSge: number): ReceiveRing {
    const stride = receiveStrideBytes(maxSge);
    const buffer = ringMemory('receiveRing', capacity, stride);
    const handle = attempt('receiveRing', { capacity }, () =>
      native.createRing(buffer, RING_KIND.receive, capacity, maxSge, 0),
    );
    return new ReceiveRing(owner, handle, buffer, capacity, maxSge);
  }

  private constructor(
    owner: Resource,
    handle: number,
    buffer: ArrayBuffer,
    capacity: number,
    maxSge: number,
  ) {
    super('receive ring', handle, [owner]);
    this.capacity = capacity;
    this.maxSge = maxSge;
    this.#words = new Uint32Array(buffer);
    this.#strideWords = receiveStrideBytes(maxSge) / 4;
  }

  /**
   * A receive into one piece of memory, `length` bytes from `offset` of the region.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when there is no such slot, or the piece does not lie within the region.
   */
  receive(
    slot: number,
    id: number,
    region: RegisteredMemory,
    offset: number,
    length: number,
  ): void {
    const at = this.#begin(slot, id);
    checkRange(region, offset, length);
    writeEntry(this.#words, at + RECEIVE.entries, region, offset, length);
    this.#words[at + RECEIVE.length] = 1;
  }

  /** A receive of no bytes, or one that gets its memory by `addEntry`. */
  start(slot: number, id: number): void {
    this.#begin(slot, id);
  }

  /**
   * One more piece of memory to scatter to.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when it does not lie within its region, or there are `maxSge` already.
   */
  addEntry(slot: number, region: RegisteredMemory, offset: number, length: number): void {
    checkRange(region, offset, length);
    writeEntry(this.#words, this.#nextEntry(slot), region, offset, length);
  }

  /** The same for memory known by its address and key alone; the device checks them. */
  addRawEntry(slot: number, address: bigint, length: number, lkey: number): void {
    writeRawEntry(this.#words, this.#nextEntry(slot), address, length, lkey);
  }

  #nextEntry(slot: number): number {
    const at = this.#at(slot);
    const count = this.#words[at + RECEIVE.length] ?? 0;
    if (count >= this.maxSge) {
      throw argumentError(
        'receiveRing.addEntry',
        `this queue scatters to at most ${this.maxSge} pieces; create it with a larger maxRecvSge`,
        { maxSge: this.maxSge },
      );
    }
    this.#words[at + RECEIVE.length] = count + 1;
    return at + RECEIVE.entries + count * ENTRY.words;
  }

  #at(slot: number): number {
    if (!(slot >= 0 && slot < this.capacity)) throw outsideRing(slot, this.capacity);
    return slot * this.#strideWords;
  }

  #begin(slot: number, id: number): number {
    const at = this.#at(slot);
    this.#words[at] = id;
    this.#words[at + RECEIVE.idHigh] = id < TWO_32 ? 0 : highWord(id);
    this.#words[at + RECEIVE.length] = 0;
    return at;
  }
}
