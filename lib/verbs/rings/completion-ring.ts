/** A ring of completions in one ArrayBuffer: polled by one native call, read in place. */
import { attempt } from '../errors.js';
import { native } from '../native.js';
import { Resource } from '../resource.js';
import { COMPLETION, RING_KIND, TWO_32 } from './layout.js';
import { ringMemory } from './send-ring.js';

/**
 * Completions that are read without anything being allocated. Make one with `cq.ring(capacity)`; `cq.pollInto(ring)`
 * fills it from its start. Statuses and opcodes are the numbers of ibv_wc_status and ibv_wc_opcode: 0 is success.
 *
 * ```ts
 * import { openDevice, SIGNALED } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const mr = pd.registerMemory(new Uint8Array(64), ['local-write', 'remote-write']);
 * const requests = qp.sendRing(1);
 * requests.rdmaWrite(0, 7, mr, 32, 8, mr.addressLow, mr.addressHigh, mr.rkey, SIGNALED);
 * qp.post(requests, 0, 1);
 *
 * const completions = cq.ring(16);
 * const count = cq.nextIntoSync(completions, { timeoutMs: 5000 }); // or cq.pollInto(completions)
 * for (let i = 0; i < count; i++) {
 *   console.log(completions.id(i), completions.status(i)); // prints 7 0
 * }
 * ```
 */
export class CompletionRing extends Resource {
  /** Slots; they go from 0 to `capacity - 1`. */
  readonly capacity: number;
  readonly #words: Uint32Array;
  readonly #stride: number;

  /** @internal */
  static create(owner: Resource, capacity: number, extended: boolean): CompletionRing {
    const stride = extended ? COMPLETION.extendedWords : COMPLETION.words;
    const buffer = ringMemory('cq.ring', capacity, stride * 4);
    const kind = extended ? RING_KIND.extendedCompletion : RING_KIND.completion;
    const handle = attempt('cq.ring', { capacity }, () =>
      native.createRing(buffer, kind, capacity, 0, 0),
    );
    return new CompletionRing(owner, handle, buffer, capacity, stride);
  }

  private constructor(
    owner: Resource,
    handle: number,
    buffer: ArrayBuffer,
    capacity: number,
    stride: number,
  ) {
    super('completion ring', handle, [owner]);
    this.capacity = capacity;
    this.#words = new Uint32Array(buffer);
    this.#stride = stride;
  }

  /** The id of the work request. */
  id(slot: number): number {
    const at = slot * this.#stride;
    const low = this.#words[at] ?? 0;
    const high = this.#words[at + COMPLETION.idHigh] ?? 0;
    return high === 0 ? low : high * TWO_32 + low;
  }

  /** ibv_wc_status: 0 is success. */
  status(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.status] ?? 0;
  }

  /** ibv_wc_opcode; undefined content unless the status is success. */
  opcode(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.opcode] ?? 0;
  }

  /** The device's own code of a failure; 0 on success. */
  vendorError(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.vendorError] ?? 0;
  }

  /** Bytes received, or read. */
  byteLen(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.byteLen] ?? 0;
  }

  /** Immediate data, where `flags` has `WC_WITH_IMM`. It travels in network byte order. */
  immediate(slot: number): number {
    const raw = this.#words[slot * this.#stride + COMPLETION.immediate] ?? 0;
    return ((raw << 24) | ((raw & 0xff00) << 8) | ((raw >>> 8) & 0xff00) | (raw >>> 24)) >>> 0;
  }

  /** The key that the peer ended, where `flags` has `WC_WITH_INV`. */
  invalidatedRkey(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.immediate] ?? 0;
  }

  /** The queue pair of this side. */
  qpNum(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.qpNum] ?? 0;
  }

  /** The sender's queue pair (UD). */
  srcQp(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.srcQp] ?? 0;
  }

  /** ibv_wc_flags */
  flags(slot: number): number {
    return this.#words[slot * this.#stride + COMPLETION.flags] ?? 0;
  }

  /** The partition of a received datagram, as an index into the port's table. */
  pkeyIndex(slot: number): number {
    return (this.#words[slot * this.#stride + COMPLETION.pkeyIndexAndSlid] ?? 0) & 0xffff;
  }

  /** The local identifier that a datagram came from. */
  slid(slot: number): number {
    return (this.#words[slot * this.#stride + COMPLETION.pkeyIndexAndSlid] ?? 0) >>> 16;
  }

  /** The service level of a received datagram. */
  sl(slot: number): number {
    return (this.#words[slot * this.#stride + COMPLETION.slAndPathBits] ?? 0) & 0xff;
  }

  /** Which of the port's local identifiers a datagram was sent to. */
  dlidPathBits(slot: number): number {
    return ((this.#words[slot * this.#stride + COMPLETION.slAndPathBits] ?? 0) >>> 8) & 0xff;
  }

  /** When it completed, in the device's clock; 0n unless the queue was made with that. */
  timestamp(slot: number): bigint {
    return this.#time(slot, COMPLETION.timestampLow);
  }

  /** When it completed, in nanoseconds of the wall clock; 0n unless the queue was made with that. */
  wallclockNs(slot: number): bigint {
    return this.#time(slot, COMPLETION.wallclockLow);
  }

  #time(slot: number, word: number): bigint {
    if (this.#stride !== COMPLETION.extendedWords) return 0n;
    const at = slot * this.#stride + word;
    return (BigInt(this.#words[at + 1] ?? 0) << 32n) | BigInt(this.#words[at] ?? 0);
  }
}
