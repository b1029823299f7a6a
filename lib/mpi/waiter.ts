/**
 * How a rank waits: it looks again and again for a while, then yields the processor, then sleeps until a sender rings
 * its doorbell. Between kernels nobody can wake it, so there it sleeps for short, growing times.
 *
 * A sleeper loses no wake-up: it says that it sleeps, and looks once more before it does; a sender publishes first and
 * looks for sleepers after. Both are sequentially consistent, so one of the two sees the other.
 */
import type { Aperture } from '../aperture/index.js';
import { DOORBELL_WORD, SLEEPING_WORD, SLEEPS } from '../aperture/participants.js';
import { waitOnDoorbell, yieldProcessor } from '../aperture/waiting.js';

export interface WaiterOptions {
  /** More ranks than processors: yield at once, since whoever we wait for needs this one. */
  readonly oversubscribed: boolean;
  /** Whether all ranks run on this kernel, known once all have attached. */
  readonly allLocal: () => boolean;
  /** Bits that the word which says that this rank sleeps has always. */
  readonly otherBits: number;
  /** What else ends a sleep. */
  readonly events?: WakeEvents;
}

/** Events of a device that end sleeps. */
export interface WakeEvents {
  /** Whether all messages come with such an event: else the doorbell is looked at, too, each time that passes. */
  readonly areAll: boolean;
  /** Has the next event end a sleep; what came before is to be looked for afterwards. */
  arm(): void;
  /** Blocks until an event, or until the time is over. */
  sleepSync(timeoutMs: number): void;
  /** Calls back at the next event, unless the returned function is called before. */
  watch(onEvent: () => void): () => void;
}

/** Polls between two looks for failures: about a microsecond. */
const POLLS_PER_LOOK = 256;
/** Looks before the first sleep, some milliseconds. Not by a clock: in a virtual machine that is a system call. */
const LOOKS_BEFORE_SLEEP = 2048;
const YIELDS_WHEN_OVERSUBSCRIBED = 16;
/** A sleep within one kernel ends by the doorbell; this bound is a safety net. */
const LOCAL_SLEEP_MS = 100;
const FIRST_BACK_OFF_MS = 0.05;
const LAST_BACK_OFF_MS = 20;
/** The same for an event loop, where each look costs more. */
const LOOP_BACK_OFF_MS = 40;

export class Waiter {
  readonly #aperture: Aperture | undefined;
  readonly #words: Int32Array;
  readonly #sleeping: number;
  readonly #doorbell: number;
  readonly #options: WaiterOptions;
  #polls = 0;
  #looks = 0;
  #backOffMs = FIRST_BACK_OFF_MS;
  /** Sleepers of this rank: a blocking call, and the event loop's watch beneath it. */
  #sleepers = 0;
  /** Called when this rank is about to sleep, and when it does so no longer. */
  onSleep: (isAsleep: boolean) => void = () => undefined;

  constructor(aperture: Aperture | undefined, rank: number, options: WaiterOptions) {
    this.#aperture = aperture;
    this.#options = options;
    if (aperture === undefined) {
      this.#words = new Int32Array(0);
      this.#sleeping = 0;
      this.#doorbell = 0;
    } else {
      const record = aperture.participants.recordWord(rank);
      this.#words = aperture.participants.words;
      this.#sleeping = record + SLEEPING_WORD;
      this.#doorbell = record + DOORBELL_WORD;
    }
  }

  get oversubscribed(): boolean {
    return this.#options.oversubscribed;
  }

  /** Whether others can end a sleep: there are none in a world of one. */
  get canSleep(): boolean {
    return this.#aperture !== undefined;
  }

  /** How long the event loop may sleep without looking. */
  get longestSleepMs(): number {
    return this.#options.allLocal() ? LOCAL_SLEEP_MS : LOOP_BACK_OFF_MS;
  }

  /** Something moved, or a wait begins: be quick again. */
  begin(): void {
    this.#polls = 0;
    this.#looks = 0;
    this.#backOffMs = FIRST_BACK_OFF_MS;
  }

  /** Counts a poll that found nothing; true when it is time to `rest`. */
  isImpatient(): boolean {
    return ++this.#polls >= POLLS_PER_LOOK || this.#options.oversubscribed;
  }

  /** Gives the processor away for as long as the wait so far suggests; looks once more, by `poll`, before a sleep. */
  rest(poll: () => boolean): void {
    this.#polls = 0;
    if (this.#options.oversubscribed) {
      if (this.#looks++ < YIELDS_WHEN_OVERSUBSCRIBED) {
        yieldProcessor();
        return;
      }
    } else if (this.#looks++ < LOOKS_BEFORE_SLEEP) {
      return;
    }
    const seen = this.announceSleep();
    if (!poll()) {
      const { events } = this.#options;
      if (events === undefined) {
        waitOnDoorbell(this.#aperture!, this.#doorbell, seen, this.#sleepMs());
      } else {
        events.sleepSync(this.#sleepMs());
      }
    }
    this.endSleep();
  }

  /** Says that this rank may sleep; returns the doorbell's value to sleep on. The caller then looks once more. */
  announceSleep(): number {
    this.#sleepers++;
    const seen = Atomics.load(this.#words, this.#doorbell);
    this.onSleep(true);
    Atomics.store(this.#words, this.#sleeping, SLEEPS | this.#options.otherBits);
    this.#options.events?.arm();
    return seen;
  }

  endSleep(): void {
    if (--this.#sleepers > 0) return;
    Atomics.store(this.#words, this.#sleeping, this.#options.otherBits);
    this.onSleep(false);
  }

  /** @internal Calls back on the event loop when the doorbell rings, or between kernels when it is time to look. */
  watch(onRing: () => void): ReturnType<Aperture['watchDoorbell']> {
    return this.#aperture!.watchDoorbell(this.#doorbell * 4, onRing);
  }

  /** @internal The same when an event of a device comes, unless the returned function is called before. */
  watchEvents(onEvent: () => void): (() => void) | undefined {
    return this.#options.events?.watch(onEvent);
  }

  #sleepMs(): number {
    const { events } = this.#options;
    const isWoken = events === undefined ? this.#options.allLocal() : events.areAll;
    if (isWoken) return LOCAL_SLEEP_MS;
    const now = this.#backOffMs;
    this.#backOffMs = Math.min(now * 2, LAST_BACK_OFF_MS);
    return now;
  }
}
