// A token goes around all ranks, and each adds its own number to it.
//
//   npx viaduct run -n 4 -- node examples/ring.js
//   npx viaduct run -n 4 --vm -- node examples/ring.js       each rank in a virtual machine of its own
import { init } from 'viaduct/mpi';

const job = await init();
const { rank, size } = job.world;
const next = (rank + 1) % size;
const previous = (rank + size - 1) % size;
const token = new Float64Array(1);

if (rank === 0) {
  await job.world.send(token, next);
  await job.world.recv(token, previous);
  console.log(`the ranks of ${size} add up to ${token[0]}`);
} else {
  await job.world.recv(token, previous);
  token[0] += rank;
  await job.world.send(token, next);
}
await job.finalize();
