/** A rank that talks to all others for ever, by messages of each size that goes another way, blocking or not. */
import { init } from '../../../lib/mpi/index.js';

const { world } = await init();
const { rank, size } = world;
const sizes = [0, 8, 4096, 40_000, 1 << 20];
for (let round = 0; ; round++) {
  const length = sizes[round % sizes.length];
  const to = (rank + 1) % size;
  const from = (rank + size - 1) % size;
  const receiving = world.irecv(new Uint8Array(length), from, round % 7);
  if (round % 2 === 0) await world.send(new Uint8Array(length), to, round % 7);
  else world.isend(new Uint8Array(length), to, round % 7).waitSync();
  await receiving;
  if (round % 50 === 0) world.barrierSync();
}
