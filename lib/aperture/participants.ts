/**
 * Who takes part in an aperture, whether each one lives, and how to wake it.
 *
 * A participant's record, 256 bytes:
 *
 * | byte | field |
 * | --- | --- |
 * | 0 | state |
 * | 4 | pid, in its own kernel and pid namespace |
 * | 8 | its kernel, 64 bits |
 * | 16 | start time of the process in clock ticks, 64 bits |
 * | 24 | heartbeats: counts up while the process can run |
 * | 64 | sleeping: bit 0 is set while it may sleep on its doorbell; the layers above use the others |
 * | 68 | doorbell: counts rings |
 * | 128 | length in bytes, then text: why it failed |
 *
 * Sleeping and doorbell have a cache line of their own: senders read it with each message.
 */
import { ApertureError } from './errors.js';
import { FAILURES_WORD, PARTICIPANT_BYTES, PARTICIPANTS_OFFSET } from './header.js';
import { kernelId, processStartTicks } from './kernel.js';
import { native } from './native.js';

const STATES = ['empty', 'attached', 'finalized', 'failed'] as const;
/**
 * - `empty`: nobody has attached under this index;
 * - `attached`: a process takes part;
 * - `finalized`: it left in good order;
 * - `failed`: it is gone without having done so, or was marked by `fail`.
 *
 * @useDeclaredType
 */
export type ParticipantState = (typeof STATES)[number];

const EMPTY = 0;
const ATTACHED = 1;
const FINALIZED = 2;
const FAILED = 3;

const PID_WORD = 4 / 4;
const KERNEL_OFFSET = 8;
const START_OFFSET = 16;
/** Word of a record that its participant counts up. */
export const HEARTBEAT_WORD = 24 / 4;
/** Word of a record that says that its participant may sleep on its doorbell. */
export const SLEEPING_WORD = 64 / 4;
/** Its bit for that. */
export const SLEEPS = 1;
/** Word of a record that is rung. */
export const DOORBELL_WORD = 68 / 4;
const REASON_OFFSET = 128;
const REASON_BYTES = PARTICIPANT_BYTES - REASON_OFFSET - 4;

/** One line of the table of participants, as it was when it was read. */
export interface Participant {
  /** Its place in the table, from 0 on: what it attached under. */
  readonly index: number;
  /** Whether it takes part. */
  readonly state: ParticipantState;
  /** Its process number in its own kernel and pid namespace; 0 while the record is empty. */
  readonly pid: number;
  /** Equal for two participants of one kernel, which alone can wake each other by futex. */
  readonly kernelId: bigint;
  /** Why it failed, when its state is `failed`. */
  readonly reason?: string;
}

/**
 * The table of those who take part in an aperture. It is part of the shared memory: what one process changes, all
 * see.
 *
 * ```ts
 * import { Aperture } from 'viaduct/aperture';
 *
 * using aperture = Aperture.create({ sizeBytes: 4096, participants: 2 });
 * const { participants } = aperture;
 * aperture.attach(0);
 * participants.fail(1, 'never came');
 * console.log(participants.state(0), participants.isAlive(0)); // prints attached true
 * console.log(participants.describe(1).reason); // prints never came
 * ```
 */
export class Participants {
  /** How many participants it has room for: their indexes go from 0 to `capacity - 1`. */
  readonly capacity: number;
  readonly #memory: ArrayBuffer;
  /** @internal The whole table and the header before it, as words: hot paths index it by `recordWord`. */
  readonly words: Int32Array;

  /** @internal */
  constructor(memory: ArrayBuffer, capacity: number) {
    this.#memory = memory;
    this.capacity = capacity;
    this.words = new Int32Array(
      memory,
      0,
      (PARTICIPANTS_OFFSET + capacity * PARTICIPANT_BYTES) / 4,
    );
  }

  /** @internal Index in `words` of the first word of a participant's record. */
  recordWord(index: number): number {
    if (!(Number.isInteger(index) && index >= 0 && index < this.capacity)) {
      throw new ApertureError(
        'ERR_APERTURE_PARTICIPANT',
        `this aperture has room for participants 0 to ${this.capacity - 1}, not for ${index}`,
        { operands: { index, capacity: this.capacity } },
      );
    }
    return (PARTICIPANTS_OFFSET + index * PARTICIPANT_BYTES) / 4;
  }

  /**
   * Takes the record for this process.
   *
   * @throws ApertureError `ERR_APERTURE_PARTICIPANT` when it is taken or out of range.
   */
  attach(index: number): void {
    const record = this.recordWord(index);
    const view = this.#view(record);
    const before = Atomics.compareExchange(this.words, record, EMPTY, ATTACHED);
    if (before !== EMPTY) {
      throw new ApertureError(
        'ERR_APERTURE_PARTICIPANT',
        `participant ${index} is ${STATES[before]} already; each process of a job needs an index of its own`,
        { operands: { index } },
      );
    }
    this.words[record + PID_WORD] = process.pid;
    view.setBigUint64(START_OFFSET, BigInt(processStartTicks('self') ?? 0), true);
    // The kernel last: a record with a kernel is complete.
    Atomics.store(new BigUint64Array(this.#memory, record * 4 + KERNEL_OFFSET, 1), 0, kernelId());
  }

  /** Says that this participant left in good order. */
  finalize(index: number): void {
    Atomics.compareExchange(this.words, this.recordWord(index), ATTACHED, FINALIZED);
  }

  /**
   * Marks a participant as failed, unless it has finalized or failed before, and wakes all sleepers, so that
   * those who wait for it learn why.
   */
  fail(index: number, reason: string): void {
    const record = this.recordWord(index);
    const state = Atomics.load(this.words, record);
    if (state === FINALIZED || state === FAILED) return;
    const text = Buffer.from(reason, 'utf8').subarray(0, REASON_BYTES);
    new Uint8Array(this.#memory, record * 4 + REASON_OFFSET + 4, text.length).set(text);
    this.words[record + REASON_OFFSET / 4] = text.length;
    Atomics.store(this.words, record, FAILED);
    Atomics.add(this.words, FAILURES_WORD, 1);
    for (let other = 0; other < this.capacity; other++) this.ring(other);
  }

  /** How many participants were ever marked failed: changes when there is news. */
  get failures(): number {
    return Atomics.load(this.words, FAILURES_WORD);
  }

  /**
   * The state of one participant.
   *
   * @throws ApertureError `ERR_APERTURE_PARTICIPANT` when the index is out of range.
   */
  state(index: number): ParticipantState {
    return STATES[Atomics.load(this.words, this.recordWord(index))] ?? 'failed';
  }

  /**
   * All that the table says of one participant.
   *
   * @throws ApertureError `ERR_APERTURE_PARTICIPANT` when the index is out of range.
   */
  describe(index: number): Participant {
    const record = this.recordWord(index);
    const view = this.#view(record);
    const state = this.state(index);
    const described = {
      index,
      state,
      pid: view.getInt32(PID_WORD * 4, true),
      kernelId: view.getBigUint64(KERNEL_OFFSET, true),
    };
    if (state !== 'failed') return described;
    const length = Math.min(Math.max(view.getInt32(REASON_OFFSET, true), 0), REASON_BYTES);
    const text = Buffer.from(this.#memory, record * 4 + REASON_OFFSET + 4, length);
    return { ...described, reason: text.toString('utf8') };
  }

  /**
   * How often a participant has beaten, as a 32-bit number that wraps around. Unless it moves on within some seconds, the
   * participant's process or virtual machine is stopped; however busy it is, it beats.
   */
  heartbeats(index: number): number {
    return Atomics.load(this.words, this.recordWord(index) + HEARTBEAT_WORD);
  }

  /** True once `attach` has been completed for that index. */
  hasAttached(index: number): boolean {
    return this.#view(this.recordWord(index)).getBigUint64(KERNEL_OFFSET, true) !== 0n;
  }

  /**
   * Whether the process behind a participant runs. Exact within one kernel, where pid and start time name a
   * process; for a participant in another kernel it says what the table says, which whoever started that
   * participant keeps true by `fail`.
   */
  isAlive(index: number): boolean {
    const { state, pid, kernelId: kernel } = this.describe(index);
    if (state !== 'attached') return false;
    if (kernel !== kernelId()) return true;
    const started = this.#view(this.recordWord(index)).getBigUint64(START_OFFSET, true);
    return BigInt(processStartTicks(pid) ?? -1) === started;
  }

  /** Moves a participant's doorbell on and wakes it if it sleeps in this kernel. */
  ring(index: number): void {
    const doorbell = this.recordWord(index) + DOORBELL_WORD;
    Atomics.add(this.words, doorbell, 1);
    native.wakeWord(this.#memory, doorbell * 4, 0x7fffffff);
  }

  #view(record: number): DataView {
    return new DataView(this.#memory, record * 4, PARTICIPANT_BYTES);
  }
}
