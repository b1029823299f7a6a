/** Rank 0 waits for rank 1, which is alive and says nothing, and tells what it learns of it. */
import { setTimeout as sleep } from 'node:timers/promises';

import { init } from '../../../lib/mpi/index.js';

const { world } = await init();
const bytes = new Uint8Array(8);

if (world.rank === 1) {
  world.sendSync(bytes, 0, 1);
  // Alive until the launcher ends it; in no call, in which it would find out as well.
  await sleep(60_000);
} else {
  world.recvSync(bytes, 1, 1);
  console.log('waits');
  try {
    if (process.argv[2] === 'recv') await world.recv(bytes, 1, 2);
    else world.recvSync(bytes, 1, 2);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    console.log(`${code} ${message}`);
  }
  process.exit(0);
}
