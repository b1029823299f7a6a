/** Rank 1 ends in the way that is asked for, in the middle of a message; the others say what they learn of it. */
import { type Communicator, init, Request } from '../../../lib/mpi/index.js';

const [how, operation] = process.argv.slice(2);
const { world } = await init();
const large = new Uint8Array(64 * 1024 * 1024);
const small = new Uint8Array(1);
const two: Communicator = world.splitSync({ color: 0, key: -world.rank });

if (world.rank === 1) {
  // An envelope without its bytes, which are gone with the sender.
  if (operation.includes('announced')) void world.isend(large, 0, 7);
  // Rank 0 has begun to wait, or to send, when this message has come.
  world.recvSync(small, 0, 1);
  if (how === 'kill') process.kill(process.pid, 'SIGKILL');
  if (how === 'throw') throw new Error('rank 1 has had enough');
  if (how === 'exit') process.exit(7);
  if (how === 'leave') process.exit(0);
  if (how === 'abort') world.abort(9, 'the model diverges');
}

/** Each takes the buffers that it needs; those that begin with `await` do not block. */
const operations: Record<string, () => unknown> = {
  recvSync: () => world.recvSync(large, 1, 2),
  recv: () => world.recv(large, 1, 2),
  'recvSync of any source': () => world.recvSync(large),
  'recvSync in another communicator': () => two.recvSync(large, 0, 2),
  sendSync: () => {
    world.sendSync(large, 1, 2);
  },
  send: () => world.send(large, 1, 2),
  ssendSync: () => {
    world.ssendSync(small, 1, 2);
  },
  'a persistent send': () => world.ssendInit(small, 1, 2).start().waitSync(),
  'a persistent receive': () => world.recvInit(small, 1, 2).start().waitSync(),
  probeSync: () => world.probeSync(1, 2),
  'probe of any source': () => world.probe(),
  mprobe: () => world.mprobe(1, 2),
  receive: () => world.receive(1),
  recvObject: () => world.recvObject(1),
  sendObject: () => world.sendObject({ large }, 1),
  sendrecvSync: () => world.sendrecvSync(small, 1, 2, small, 1, 3),
  waitAnySync: () => Request.waitAnySync([world.irecv(small, 1, 2), world.irecv(large, 1, 3)]),
  waitSome: () => Request.waitSome([world.irecv(small, 1, 2), world.irecv(large, 1, 3)]),
  waitAll: () => Request.waitAll([world.isend(large, 1, 2), world.irecv(large, 1, 3)]),
  detachBuffer: async () => {
    const request = world.isend(large, 1, 3);
    world.attachBuffer();
    world.bsendSync(large, 1, 2);
    await world.detachBuffer();
    await request;
  },
  'recvSync of an announced message, later': async () => {
    await world.recv(small, 1, 2).catch(() => undefined);
    world.recvSync(large, 1, 7);
  },
  'sendSync, later': async () => {
    await world.recv(small, 1, 2).catch(() => undefined);
    world.sendSync(small, 1);
  },
  splitSync: () => world.splitSync({ color: 0 }),
  barrierSync: () => {
    world.barrierSync();
  },
  barrier: () => world.barrier(),
};

if (world.rank === 0) {
  if (operation.includes('announced')) world.probeSync(1, 7);
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
