/** Ranks that wait for each other for ever; whoever is asked to tells who waits for whom. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, init } from '../../../lib/mpi/index.js';

const [how] = process.argv.slice(2);
const { world, waitReport } = await init();
const { rank, size } = world;
const large = new Uint8Array(1_000_000);

async function untilAllSleep(): Promise<void> {
  for (;;) {
    const asleep = waitReport().ranks.filter(({ state }) => state !== 'running').length;
    if (asleep >= size - 1) return;
    await sleep(5);
  }
}

if (how === 'ring of blocking sends') {
  // Rank 0 is not part of it, and reports.
  if (rank === 0) {
    await untilAllSleep();
    const report = waitReport();
    console.log(JSON.stringify({ text: String(report), cycle: report.cycle }));
    process.exit(0);
  }
  world.sendSync(large, rank + 1 < size ? rank + 1 : 1, 5);
} else {
  using rows = await world.dup();
  rows.name = 'rows';
  if (rank === 0) {
    await untilAllSleep();
    const timeoutMs = 50;
    try {
      await rows.recv(large, 1, 3, { timeoutMs });
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      console.log(JSON.stringify({ code, text: message }));
    }
    process.exit(0);
  }
  if (rank === 1) await rows.recv(new Uint8Array(8), 0, 4);
  else rows.probeSync(ANY_SOURCE, 7);
}
