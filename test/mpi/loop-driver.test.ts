/** What an event loop may not miss before it sleeps. */
import { setImmediate } from 'node:timers/promises';

import t from 'tap';

import { LoopDriver } from '../../lib/mpi/loop-driver.js';
import type { Waiter } from '../../lib/mpi/waiter.js';

t.test('a failure that is told just before the loop sleeps is seen', async (t) => {
  let isTold = false;
  let isSeen = false;
  let isAsleep = false;
  const waiter: Partial<Waiter> = {
    oversubscribed: true,
    canSleep: true,
    longestSleepMs: 100,
    announceSleep: () => {
      isTold = true;
      return 0;
    },
    endSleep: () => undefined,
    // A watch that nobody rings.
    watch: () => ({
      arm: () => {
        isAsleep = true;
      },
      disarm: () => undefined,
      close: () => undefined,
    }),
  };
  const driven = {
    poll: () => false,
    checkFailures: () => {
      if (!isTold || isSeen) return false;
      isSeen = true;
      driver.settled();
      return true;
    },
  };
  const driver = new LoopDriver(driven, waiter as Waiter);
  driver.start();
  while (!isSeen && !isAsleep) await setImmediate();
  t.ok(isSeen);
  driver.close();
});
