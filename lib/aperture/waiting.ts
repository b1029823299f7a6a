/** Waiting on a doorbell and waking who waits, for one process; see native/aperture/futex.h. */
import { constants } from 'node:os';

import type { Aperture } from './aperture.js';
import { ApertureError } from './errors.js';
import { native } from './native.js';

/** Sleeps until a word of the participants' table differs from `seen`, a ring, or the time is over. */
export function waitOnDoorbell(
  aperture: Aperture,
  word: number,
  seen: number,
  timeoutMs: number,
): void {
  const error = native.waitOnWord(aperture.memory, word * 4, seen, timeoutMs);
  const { EINTR, EAGAIN, ETIMEDOUT, EFAULT } = constants.errno;
  switch (error) {
    case 0:
    case EINTR:
    case EAGAIN:
    case ETIMEDOUT:
      return;
    case EFAULT:
      // A guest's kernel cannot sleep on a device mapping: its futexes want pages of its own.
      native.sleepMicroseconds(Math.min(timeoutMs * 1000, 100_000));
      return;
    default:
      throw new ApertureError('ERR_APERTURE_SYSTEM', `futex: errno ${error}`, { errno: error });
  }
}

export function yieldProcessor(): void {
  native.yieldProcessor();
}

/** Wakes whoever sleeps on a word of the participants' table, in this kernel. */
export function wakeDoorbell(aperture: Aperture, word: number): void {
  native.wakeWord(aperture.memory, word * 4, 0x7fffffff);
}
