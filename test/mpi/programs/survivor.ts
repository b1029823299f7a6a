/** Rank 1 ends in the way that is asked for, in the middle of a message; the others say what they learn of it. */
import { init } from '../../../lib/mpi/index.js';

const [how, operation] = process.argv.slice(2);
const { world } = await init();
const large = new Uint8Array(64 * 1024 * 1024);

if (world.rank === 1) {
  // Rank 0 has begun to wait, or to send, when this message has come.
  world.recvSync(new Uint8Array(1), 0, 1);
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  if (how === 'throw') throw new Error('rank 1 has had enough');
  if (how === 'exit') process.exit(7);
  if (how === 'leave') process.exit(0);
}

const operations: Record<string, () => unknown> = {
  recvSync: () => world.recvSync(large, 1, 2),
  recv: () => world.recv(large, 1, 2),
  'recvSync of any source': () => world.recvSync(large),
  sendSync: () => {
    world.sendSync(large, 1, 2);
  },
  send: () => world.send(large, 1, 2),
  barrierSync: () => {
    world.barrierSync();
  },
  barrier: () => world.barrier(),
};

if (world.rank === 0) {
  world.sendSync(new Uint8Array(1), 1, 1);
  try {
    await operations[operation]();
    console.log('it returned');
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    console.log(`${code} ${message}`);
  }
  process.exit(0);
}
