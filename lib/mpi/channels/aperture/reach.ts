/** What this process can do to a peer besides the aperture: wake it, and read its memory. */
import type { Aperture } from '../../../aperture/index.js';
import { addressOf } from '../../../aperture/address.js';
import { loadOrdered } from '../../../aperture/ordered.js';
import { DOORBELL_WORD, SLEEPING_WORD, SLEEPS } from '../../../aperture/participants.js';
import { readProcess } from '../../../aperture/process-copy.js';
import { wakeDoorbell } from '../../../aperture/waiting.js';
import type { Memory } from '../../memory.js';
import type { Inbox } from './inbox.js';
import type { Waker } from '../protocol/sender.js';

/** V8 keeps the bytes of smaller views among its own objects, and moves them. */
const SMALLEST_AT_REST_BYTES = 65;

export class PeerReach implements Waker {
  readonly #aperture: Aperture;
  readonly #rank: number;
  readonly #words: Int32Array;
  readonly #sleeping: number;
  readonly #doorbell: number;
  readonly #kernel: bigint;
  readonly #mayRead: boolean;
  /** Undefined until the peer has attached. */
  #isLocal: boolean | undefined;
  #pid = 0;
  #cannotRead = false;
  readonly #inbox: Inbox | undefined;
  readonly #ownRank: number;

  /**
   * @param mayRead false keeps the single copy off, for tests of the other protocol.
   * @param inbox the peer's, if it has one, in which `ownRank` leaves word.
   */
  constructor(
    aperture: Aperture,
    rank: number,
    kernel: bigint,
    mayRead: boolean,
    inbox: Inbox | undefined,
    ownRank: number,
  ) {
    this.#aperture = aperture;
    this.#rank = rank;
    this.#words = aperture.participants.words;
    const record = aperture.participants.recordWord(rank);
    this.#sleeping = record + SLEEPING_WORD;
    this.#doorbell = record + DOORBELL_WORD;
    this.#kernel = kernel;
    this.#mayRead = mayRead;
    this.#inbox = inbox;
    this.#ownRank = ownRank;
  }

  wake(): void {
    if (loadOrdered(this.#words, this.#sleeping) !== 0) this.#tell();
  }

  #tell(): void {
    this.#inbox?.tell(this.#ownRank);
    if ((loadOrdered(this.#words, this.#sleeping) & SLEEPS) === 0) return;
    Atomics.add(this.#words, this.#doorbell, 1);
    if (this.isLocal) wakeDoorbell(this.#aperture, this.#doorbell);
  }

  /** Address of a memory for the peer's `read`; 0 when the peer could not read it. */
  addressOf(memory: Memory): number {
    const isReadable = this.#mayRead && this.isLocal && memory.byteLength >= SMALLEST_AT_REST_BYTES;
    return isReadable ? addressOf(memory.bytes) : 0;
  }

  /** Why the receiver copies long messages alone; undefined if it does not. */
  get whyRead(): string | undefined {
    return this.#mayRead && this.isLocal && !this.#cannotRead
      ? 'the receiver may read the sender’s memory'
      : undefined;
  }

  /** Copies from the peer's memory; false when it can't be done this way. */
  read(address: number, memory: Memory, length: number): boolean {
    if (!this.#mayRead || this.#cannotRead || !this.isLocal) return false;
    if (readProcess(this.#pid, address, memory.bytes, length)) return true;
    // No rights, or a pid of another namespace: the pipelined way works all the same.
    this.#cannotRead = true;
    return false;
  }

  /** Whether the peer runs on this kernel; false as long as that is not known. */
  get isLocal(): boolean {
    if (this.#isLocal === undefined && this.#aperture.participants.hasAttached(this.#rank)) {
      const { kernelId, pid } = this.#aperture.participants.describe(this.#rank);
      this.#isLocal = kernelId === this.#kernel;
      this.#pid = pid;
    }
    return this.#isLocal === true;
  }

  get isKnown(): boolean {
    return this.isLocal || this.#isLocal !== undefined;
  }
}
