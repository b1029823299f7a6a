/** Waiting for an event with a deadline and an AbortSignal. */
import { VerbsError } from './errors.js';

/** How long to wait. What is given up is taken from nobody: it comes to whoever waits next. */
export interface WaitOptions {
  /** Milliseconds until the call gives up with `ERR_VERBS_TIMEOUT`. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait with `ERR_VERBS_ABORTED`; its reason is the error's `cause`. */
  readonly signal?: AbortSignal | undefined;
}

/** When a wait ends for lack of time, in milliseconds of performance.now(). */
export function deadlineOf(options: WaitOptions): number {
  return options.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
}

function abortedError(call: string, signal: AbortSignal): VerbsError {
  return new VerbsError('ERR_VERBS_ABORTED', `${call}: aborted by its signal`, {
    call,
    cause: signal.reason,
  });
}

/** @throws VerbsError `ERR_VERBS_ABORTED` */
export function checkAborted(call: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(call, signal);
}

export function timeoutError(call: string): VerbsError {
  return new VerbsError(
    'ERR_VERBS_TIMEOUT',
    `${call}: nothing came within timeoutMs; look whether the peer posted what this waits for`,
    { call },
  );
}

interface Waiter {
  readonly wake: () => void;
  readonly fail: (error: Error) => void;
}

/** Those who wait for one thing. `changed` is told whenever somebody starts or nobody waits any more. */
export class WaitList {
  readonly #waiters = new Set<Waiter>();
  readonly #changed: (count: number) => void;

  constructor(changed: (count: number) => void) {
    this.#changed = changed;
  }

  /** Resolves at the next wake. */
  wait(call: string, deadline: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(call, signal));
    return new Promise((resolve, reject) => {
      const remainingMs = deadline - performance.now();
      const timer =
        deadline === Infinity
          ? undefined
          : setTimeout(() => waiter.fail(timeoutError(call)), Math.max(0, remainingMs));
      const onAbort = (): void => {
        if (signal !== undefined) waiter.fail(abortedError(call, signal));
      };
      const leave = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiters.delete(waiter);
        this.#changed(this.#waiters.size);
      };
      const waiter: Waiter = {
        wake: () => {
          leave();
          resolve();
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
      this.#changed(this.#waiters.size);
    });
  }

  wakeAll(): void {
    for (const waiter of [...this.#waiters]) waiter.wake();
  }

  failAll(error: Error): void {
    for (const waiter of [...this.#waiters]) waiter.fail(error);
  }
}
