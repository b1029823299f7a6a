/** Completion queues: where work requests end. */
import type { CompletionChannel } from './completion-channel.js';
import type { Device } from './device.js';
import { ClosedError } from '../errors.js';
import { argumentError, attempt, verbsFailure } from './errors.js';
import { native, pollCq } from './native.js';
import type { PitfallWatch } from './pitfalls.js';
import { Resource } from './resource.js';
import { CompletionRing } from './rings/completion-ring.js';
import { checkAborted, deadlineOf, timeoutError, type WaitOptions } from './waiting.js';
import { WorkCompletion } from './work-completion.js';

/** Fields of ibv_create_cq_ex(3) that cost extra, by their flags. */
const EXTENDED_FIELDS = { timestamp: 1 << 7, wallclock: 1 << 11 } as const;

/** Those that every extended queue here has: byte length, immediate, QP number, source and path. */
const STANDARD_FIELDS = 0x7fn;

const SINGLE_THREADED = 1;
const IGNORE_OVERRUN = 2;

/** What `device.createCq` is to make. */
export interface CompletionQueueOptions {
  /** How events reach the program. Default: the device's own channel; `none` for a queue that is only polled. */
  readonly channel?: CompletionChannel | 'none';
  /** Which of the device's completion vectors signals. Default 0. */
  readonly completionVector?: number;
  /** Makes it an extended queue (ibv_create_cq_ex(3)), with these times in each completion. */
  readonly extended?: readonly (keyof typeof EXTENDED_FIELDS)[];
  /** Tells the device that just one thread polls (extended queues). */
  readonly singleThreaded?: boolean;
  /** Lets completions be lost instead of failing the queue (extended queues). */
  readonly ignoreOverrun?: boolean;
}

/** How to wait for a completion. */
export interface CompletionWaitOptions extends WaitOptions {
  /** Milliseconds to poll before sleeping. Default 1 when awaited, 0.05 when blocking. */
  readonly pollMs?: number;
  /** Sleep until a solicited completion or an error (ibv_req_notify_cq(3)). Default false. */
  readonly solicitedOnly?: boolean;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/**
 * A completion queue (ibv_create_cq(3)). Made by `device.createCq`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const mr = pd.registerMemory(new Uint8Array(64), ['local-write', 'remote-write']);
 * qp.postSend({ id: 7, opcode: 'rdma-write', sge: mr.slice(0, 8), remote: mr.remote(32), signaled: true });
 *
 * for await (const completion of cq) {
 *   console.log(completion.id, completion.status, completion.opcode); // prints 7 SUCCESS rdma-write
 *   break;
 * }
 * const nothing = await cq.next({ timeoutMs: 10 }).catch((error) => error.code);
 * console.log(nothing); // prints ERR_VERBS_TIMEOUT
 * ```
 */
export class CompletionQueue extends Resource implements AsyncIterable<WorkCompletion> {
  /** What it was made from. */
  readonly device: Device;
  /** Where its events arrive; undefined for a queue that is only polled. */
  readonly channel: CompletionChannel | undefined;
  /** Whether completions carry times; such a queue's rings are larger. */
  readonly extended: boolean;
  #capacity: number;
  #scratch: CompletionRing | undefined;
  #pitfalls: PitfallWatch | undefined;

  /** @internal */
  static create(device: Device, entries: number, options: CompletionQueueOptions): CompletionQueue {
    const {
      completionVector = 0,
      extended,
      singleThreaded = false,
      ignoreOverrun = false,
    } = options;
    if (!(Number.isSafeInteger(entries) && entries > 0)) {
      throw argumentError('device.createCq', `a queue has 1 entry or more, not ${entries}`, {
        entries,
      });
    }
    const channel =
      options.channel === 'none' ? undefined : (options.channel ?? device.defaultChannel());
    const isExtended = extended !== undefined || singleThreaded || ignoreOverrun;
    const fields = (extended ?? []).reduce((flags, name) => flags | EXTENDED_FIELDS[name], 0);
    const made = attempt('device.createCq', { entries, completionVector }, () =>
      native.createCq(
        device.handle,
        entries,
        channel?.handle ?? 0,
        completionVector,
        isExtended ? STANDARD_FIELDS | BigInt(fields) : undefined,
        (singleThreaded ? SINGLE_THREADED : 0) | (ignoreOverrun ? IGNORE_OVERRUN : 0),
      ),
    );
    return new CompletionQueue(device, channel, made.handle, made.capacity, isExtended);
  }

  private constructor(
    device: Device,
    channel: CompletionChannel | undefined,
    handle: number,
    capacity: number,
    extended: boolean,
  ) {
    super('completion queue', handle, channel === undefined ? [device] : [device, channel]);
    this.device = device;
    this.channel = channel;
    this.extended = extended;
    this.#capacity = capacity;
  }

  /** Completions that it can hold. */
  get capacity(): number {
    return this.#capacity;
  }

  /**
   * A ring to poll into; see `pollInto`.
   *
   * @param capacity slots, 1 to 1048575
   * @throws VerbsError `ERR_VERBS_ARGUMENT` for another number.
   */
  ring(capacity: number): CompletionRing {
    this.openHandle('cq.ring');
    return CompletionRing.create(this, capacity, this.extended);
  }

  /**
   * Takes completions into the ring, from its start, without allocating anything.
   *
   * @returns how many
   */
  pollInto(ring: CompletionRing, most: number = ring.capacity): number {
    const count = pollCq(this.handle, ring.handle, most >>> 0);
    if (count < 0) this.#pollFailed(ring, -count);
    if (this.#pitfalls !== undefined) this.#pitfalls.polled(ring, count);
    return count;
  }

  /**
   * Takes up to `most` completions (ibv_poll_cq(3)), in the order in which they came; an empty array when none are there.
   */
  poll(most = 16): WorkCompletion[] {
    const ring = this.#scratchRing();
    const completions: WorkCompletion[] = [];
    while (completions.length < most) {
      const wanted = Math.min(most - completions.length, ring.capacity);
      const count = this.pollInto(ring, wanted);
      for (let i = 0; i < count; i++) completions.push(new WorkCompletion(ring, i));
      if (count < wanted) break;
    }
    return completions;
  }

  /**
   * Waits for at least one completion and takes those that are there into the ring: polls for a moment, then
   * sleeps on the channel.
   *
   * @returns how many
   * @throws VerbsError `ERR_VERBS_TIMEOUT`, `ERR_VERBS_ABORTED`
   */
  async nextInto(
    ring: CompletionRing,
    options: CompletionWaitOptions = {},
    most: number = ring.capacity,
  ): Promise<number> {
    const { signal, pollMs = 1, solicitedOnly = false } = options;
    checkAborted('cq.next', signal);
    const deadline = deadlineOf(options);
    const channel = this.#needChannel('cq.next');
    for (;;) {
      const pollUntil = Math.min(deadline, performance.now() + pollMs);
      for (;;) {
        const count = this.pollInto(ring, most);
        if (count > 0) return count;
        if (performance.now() >= pollUntil) break;
        await nextTurn();
        checkAborted('cq.next', signal);
      }
      this.requestNotification({ solicitedOnly });
      // What came before the request raises no event (ibv_req_notify_cq(3)).
      const count = this.pollInto(ring, most);
      if (count > 0) return count;
      await channel.eventOf(this.handle, 'cq.next', deadline, signal);
    }
  }

  /**
   * Waits for the next completion. Its status may be an error: see `completion.check()`.
   *
   * @throws VerbsError `ERR_VERBS_TIMEOUT`, `ERR_VERBS_ABORTED`, and `ERR_VERBS_ARGUMENT` for a queue without a
   *   channel; ClosedError when the queue is closed meanwhile.
   */
  async next(options: CompletionWaitOptions = {}): Promise<WorkCompletion> {
    const ring = this.#scratchRing();
    await this.nextInto(ring, options, 1);
    return new WorkCompletion(ring, 0);
  }

  /**
   * As `nextInto`, blocking the thread.
   *
   * @throws VerbsError `ERR_VERBS_TIMEOUT`
   */
  nextIntoSync(
    ring: CompletionRing,
    options: Omit<CompletionWaitOptions, 'signal'> = {},
    most: number = ring.capacity,
  ): number {
    const { pollMs = 0.05, solicitedOnly = false } = options;
    const deadline = deadlineOf(options);
    for (;;) {
      const pollUntil = Math.min(deadline, performance.now() + pollMs);
      do {
        const count = this.pollInto(ring, most);
        if (count > 0) return count;
      } while (performance.now() < pollUntil);
      if (performance.now() >= deadline) throw timeoutError('cq.nextSync');
      const channel = this.#needChannel('cq.nextSync');
      this.requestNotification({ solicitedOnly });
      const count = this.pollInto(ring, most);
      if (count > 0) return count;
      channel.waitSync(deadline - performance.now());
    }
  }

  /**
   * As `next`, blocking the thread.
   *
   * @throws VerbsError `ERR_VERBS_TIMEOUT`
   */
  nextSync(options: Omit<CompletionWaitOptions, 'signal'> = {}): WorkCompletion {
    const ring = this.#scratchRing();
    this.nextIntoSync(ring, options, 1);
    return new WorkCompletion(ring, 0);
  }

  /** All completions to come, until the queue is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<WorkCompletion, void, void> {
    while (!this.closed) {
      let completion: WorkCompletion;
      try {
        completion = await this.next();
      } catch (error) {
        if (this.closed && error instanceof ClosedError) return;
        throw error;
      }
      yield completion;
    }
  }

  /** Asks for one event on the channel at the next completion (ibv_req_notify_cq(3)). */
  requestNotification(options: { readonly solicitedOnly?: boolean } = {}): void {
    const handle = this.openHandle('cq.requestNotification');
    attempt('cq.requestNotification', {}, () =>
      native.requestNotification(handle, options.solicitedOnly === true),
    );
  }

  /**
   * Changes how many completions it can hold, to `entries` or more (ibv_resize_cq(3)).
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when that is not from 1 to `device.query().maxCqe`, or more are in it.
   */
  resize(entries: number): void {
    const handle = this.openHandle('cq.resize');
    this.#capacity = attempt('cq.resize', { entries }, () => native.resizeCq(handle, entries));
  }

  /**
   * Raises events only after so many completions or so much time (ibv_modify_cq(3)).
   *
   * @throws UnsupportedError where the device can't, as the software HCA
   */
  moderate(completions: number, periodMicroseconds: number): void {
    const handle = this.openHandle('cq.moderate');
    attempt('cq.moderate', { completions, periodMicroseconds }, () =>
      native.moderateCq(handle, completions, periodMicroseconds),
    );
  }

  /** @internal Has pitfalls looked for in what is polled here. */
  watchPitfalls(watch: PitfallWatch): void {
    this.#pitfalls = watch;
  }

  protected override beforeClose(): void {
    this.channel?.forget(this.handle);
  }

  #needChannel(call: string): CompletionChannel {
    this.openHandle(call);
    if (this.channel !== undefined) return this.channel;
    throw argumentError(call, "this queue was made with channel 'none' and can only be polled", {
      channel: 'none',
    });
  }

  // One completion at a time leaves what a waiter does not take in the queue for the next.
  #scratchRing(): CompletionRing {
    this.openHandle('cq.poll');
    this.#scratch ??= CompletionRing.create(this, 16, this.extended);
    return this.#scratch;
  }

  #pollFailed(ring: CompletionRing, errno: number): never {
    this.openHandle('cq.pollInto');
    if (ring.closed) throw new ClosedError('completion ring', 'cq.pollInto');
    throw verbsFailure('cq.pollInto', 'ibv_poll_cq', errno, {});
  }
}
