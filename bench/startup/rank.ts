/** A rank of the start-up benchmark: rank 0 says when it has had a message of every other. */
import { init } from 'viaduct/mpi';

const { world, finalize } = await init();
const byte = new Uint8Array(1);
if (world.rank === 0) {
  for (let other = 1; other < world.size; other++) world.recvSync(byte, other, 1);
  console.log('met');
} else {
  world.sendSync(byte, 0, 1);
}
await finalize();
