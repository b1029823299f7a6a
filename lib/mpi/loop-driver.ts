/**
 * Drives requests that somebody awaits from the event loop: polls for a moment in microtasks, so that an answer that
 * comes at once is taken at once; then once per turn of the loop; then sleeps on the doorbell, without using the
 * processor.
 */
import type { Aperture } from '../aperture/index.js';
import type { Waiter } from './waiter.js';

/** What the driver drives. */
export interface Driven {
  poll(): boolean;
  checkFailures(): boolean;
}

/** Polls without success in one turn, some ten microseconds. */
const POLLS_PER_TURN = 1024;
/** Turns without success before sleeping. */
const TURNS_BEFORE_SLEEP = 64;
/** Microtasks in a row before timers and sockets get their turn. */
const MICROTASKS_IN_A_ROW = 256;

export class LoopDriver {
  readonly #driven: Driven;
  readonly #waiter: Waiter;
  #watch: ReturnType<Aperture['watchDoorbell']> | undefined;
  /** Ends the wait for events of a device. */
  #stopEvents: (() => void) | undefined;
  #state: 'idle' | 'scheduled' | 'asleep' = 'idle';
  /** Requests that somebody awaits and that are not done. */
  #awaited = 0;
  #idleTurns = 0;
  #microtasks = 0;

  constructor(driven: Driven, waiter: Waiter) {
    this.#driven = driven;
    this.#waiter = waiter;
  }

  /** One more request is awaited. */
  start(): void {
    this.#awaited++;
    this.#idleTurns = 0;
    if (this.#state === 'scheduled') return;
    if (this.#state === 'asleep') this.#leaveSleep();
    this.#scheduleMicrotask();
  }

  /** An awaited request is done. */
  settled(): void {
    this.#awaited--;
    // Done by a blocking call: there may be nothing left to stay awake for.
    if (this.#awaited === 0 && this.#state === 'asleep') {
      this.#leaveSleep();
      this.#state = 'idle';
    }
  }

  close(): void {
    if (this.#state === 'asleep') this.#leaveSleep();
    this.#watch?.close();
    this.#watch = undefined;
    this.#state = 'idle';
    this.#awaited = 0;
  }

  readonly #turn = (): void => {
    if (this.#awaited === 0) {
      this.#state = 'idle';
      return;
    }
    if (this.#pollForAWhile()) {
      this.#idleTurns = 0;
      // After the microtasks of those whose requests were just completed.
      if (this.#microtasks++ < MICROTASKS_IN_A_ROW) this.#scheduleMicrotask();
      else this.#scheduleImmediate();
      return;
    }
    this.#driven.checkFailures();
    const patience = this.#waiter.oversubscribed ? 1 : TURNS_BEFORE_SLEEP;
    if (++this.#idleTurns < patience) this.#scheduleImmediate();
    else this.#sleep();
  };

  readonly #onRing = (): void => {
    if (this.#state !== 'asleep') return;
    this.#leaveSleep();
    this.#idleTurns = 0;
    this.#state = 'scheduled';
    this.#turn();
  };

  #pollForAWhile(): boolean {
    const polls = this.#waiter.oversubscribed ? 1 : POLLS_PER_TURN;
    for (let k = 0; k < polls; k++) {
      if (this.#driven.poll()) return true;
    }
    return false;
  }

  #scheduleMicrotask(): void {
    this.#state = 'scheduled';
    queueMicrotask(this.#turn);
  }

  #scheduleImmediate(): void {
    this.#state = 'scheduled';
    this.#microtasks = 0;
    setImmediate(this.#turn);
  }

  #sleep(): void {
    if (this.#awaited === 0 || !this.#waiter.canSleep) {
      // A failure was all that they waited for; or only this process itself can do what they wait for.
      this.#state = 'idle';
      return;
    }
    const seen = this.#waiter.announceSleep();
    // A failure that was told before the doorbell was read will not ring it again.
    if (this.#driven.poll() || this.#driven.checkFailures()) {
      this.#waiter.endSleep();
      this.#scheduleMicrotask();
      return;
    }
    this.#watch ??= this.#waiter.watch(this.#onRing);
    this.#state = 'asleep';
    this.#watch.arm(seen, this.#waiter.longestSleepMs);
    this.#stopEvents = this.#waiter.watchEvents(this.#onRing);
  }

  #leaveSleep(): void {
    this.#waiter.endSleep();
    this.#watch?.disarm();
    this.#stopEvents?.();
    this.#stopEvents = undefined;
  }
}
