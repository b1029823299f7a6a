/** Ranks that go on without those of them that die. The argument says in what. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, type Communicator, init, MpiError } from '../../../lib/mpi/index.js';
import { randomFromSeed } from '../../seeded-random.js';

const { world, finalize } = await init();
const [task = '', argument = '0'] = process.argv.slice(2);

/** What became of an operation: `done`, or its error's code. */
async function outcome(operation: () => unknown): Promise<string> {
  try {
    await operation();
    return 'done';
  } catch (error) {
    if (!(error instanceof MpiError)) throw error;
    return error.code;
  }
}

const die = (): boolean => process.kill(process.pid, 'SIGKILL');

/** The sum of what all ranks give, by way of rank 0. */
async function sum(comm: Communicator, mine: number): Promise<number> {
  const total = Int32Array.of(mine);
  const { rank, size } = comm;
  if (rank > 0) {
    await comm.send(total, 0, 1);
    await comm.recv(total, 0, 2);
    return total[0];
  }
  const part = new Int32Array(1);
  for (let k = 1; k < size; k++) {
    await comm.recv(part, k, 1);
    total[0] += part[0];
  }
  for (let k = 1; k < size; k++) await comm.send(total, k, 2);
  return total[0];
}

/** Steps of work, each with an agreement at its end, while ranks die at moments from a seed. */
async function work(seed: number): Promise<void> {
  const steps = 4;
  const random = randomFromSeed(seed);
  const deaths = new Map<number, { step: number; delayMs: number }>();
  for (let k = random.below(world.size); k > 0; k--) {
    deaths.set(random.below(world.size), {
      step: random.below(steps),
      delayMs: random.below(40) / 10,
    });
  }
  const death = deaths.get(world.rank);
  let timer: NodeJS.Timeout | undefined;
  let comm = world;
  let members = Array.from({ length: world.size }, (_, rank) => rank);
  for (let step = 0; step < steps; step++) {
    if (death?.step === step) timer = setTimeout(die, death.delayMs);
    let result = 0;
    const became = await outcome(async () => (result = await sum(comm, 1 << world.rank)));
    if (became !== 'done') comm.revoke();
    const mine = became === 'done' ? 1 : 0;
    const agreed = step % 2 === 0 ? comm.agreeSync(mine) : await comm.agree(mine);
    const { flags, failed } = agreed;
    if (flags === 1 && result !== members.reduce((bits, rank) => bits | (1 << rank), 0)) {
      throw new Error(`step ${step}: the sum of ${members.join()} came to ${result}`);
    }
    console.log(`step ${step}: ${flags} ${failed.map((rank) => members[rank]).join(' ')}`);
    if (flags === 0 || failed.length > 0) {
      const smaller = step % 2 === 0 ? await comm.shrink() : comm.shrinkSync();
      members = smaller.group
        .translate([...Array(smaller.size).keys()], world.group)
        .filter((rank) => rank >= 0);
      comm = smaller;
      console.log(`shrunk ${step}: ${members.join(' ')}`);
    }
  }
  // Who has come through all steps lives on.
  clearTimeout(timer);
}

/** Each rank waits for something that never comes, until one revokes. */
async function revoke(): Promise<void> {
  const { rank } = world;
  const comm = await world.dup();
  const big = new Uint8Array(1 << 20);
  if (rank === 0) {
    await sleep(200);
    comm.revoke();
    console.log(await outcome(() => comm.barrier()));
  } else {
    const waits = [
      () => comm.recvSync(big, 0),
      () => comm.recv(big, ANY_SOURCE),
      () => comm.ssend(big, 0),
      () => comm.barrierSync(),
      () => comm.probe(0),
      () => comm.sendSync(big, 0),
      () => comm.irecv(big, 0).waitSync(),
    ];
    console.log(await outcome(waits[(rank - 1) % waits.length]));
  }
  console.log(await outcome(() => comm.send(big, 0)), comm.isRevoked);
  console.log(await outcome(() => comm.dup()));
  const again = await comm.shrink();
  console.log(`${again.size} of ${comm.size}, ${await sum(again, 1)}`);
}

async function acknowledge(): Promise<void> {
  const { rank } = world;
  const byte = new Uint8Array(1);
  if (rank === 1) die();
  if (rank === 0) {
    console.log(await outcome(() => world.recv(byte, ANY_SOURCE)));
    console.log(await outcome(() => world.recv(byte, 1)));
    console.log(`failed ${world.getFailed().translate([0], world.group).join()}`);
    console.log(`acknowledged ${world.ackFailed()}`);
    const receive = world.irecv(byte, ANY_SOURCE);
    await world.send(byte, 2);
    const { source } = await receive;
    console.log(`from ${source}`);
  } else {
    await world.recv(byte, 0);
    await world.send(byte, 0);
    world.ackFailed();
  }
  const { flags, failed, unacknowledged } = await world.agree(6 + rank / 2);
  console.log(`agreed ${flags}, failed ${failed.join()}, unacknowledged ${unacknowledged.join()}`);
}

async function returning(): Promise<void> {
  world.errorHandler = 'return';
  const byte = new Uint8Array(1);
  if (world.rank === 1) die();
  world.recvSync(byte, 1);
  console.log(world.lastError?.code);
}

switch (task) {
  case 'work':
    await work(Number(argument));
    break;
  case 'revoke':
    await revoke();
    break;
  case 'acknowledge':
    await acknowledge();
    break;
  case 'return':
    await returning();
    break;
}
await finalize();
console.log('left');
