/** A rank that passes a token around all ranks, and prints its sum. */
import { init } from '../../../lib/mpi/index.js';

const { world, finalize } = await init();
const token = new Int32Array(1);
const { rank, size } = world;
if (rank > 0) await world.recv(token, rank - 1, 7);
token[0] += rank;
if (size > 1) {
  await world.send(token, (rank + 1) % size, 7);
  if (rank === 0) await world.recv(token, size - 1, 7);
}
if (rank === 0) console.log(`sum ${token[0]}`);
await finalize();
