/** A peer that ends at a random moment, under traffic: the survivor learns it in time, and goes on with another. */
import { readdirSync, readFileSync } from 'node:fs';

import t from 'tap';

import { chooseSeed, randomFromSeed } from '../../seeded-random.js';
import { Peer } from './peer.js';
import { isSoftwareHca } from './routes.js';
import { LocalSide, type Memory, type Receive, type Send, type Side, WAIT_MS } from './side.js';

const ROUNDS = 12;
/** Twice within 16 ms each; a peer that is known to be gone is not waited for. */
const IMPATIENT = { timeout: 12, retryCnt: 1 } as const;
const RECEIVES = 8;
const SIZE_BYTES = 1 << 16;

/** What the software HCA has a name for while it is used: sockets, and files if there were any. */
function leftovers(): string[] {
  const sockets = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .filter((line) => line.includes('viaduct') && line.includes(' 00010000 '))
    .map((line) => line.replace(/^.* /, ''));
  const files = readdirSync('/dev/shm').filter((name) => name.includes('viaduct'));
  return [...sockets, ...files].sort();
}

const receives: readonly Receive[] = Array.from({ length: RECEIVES }, (_, id) => ({
  id,
  sge: { offset: SIZE_BYTES / 2 + 1024 * id, length: 1024 },
}));

/** A round of everything; its messages fit into the receives of the other side. */
function mixture({ address, rkey }: Memory): Send[] {
  const large = { offset: 0, length: SIZE_BYTES / 2 };
  const remote = { address, rkey };
  return [
    { id: 100, opcode: 'rdma-write', sge: large, remote },
    { id: 101, opcode: 'send', sge: { offset: 0, length: 1024 } },
    { id: 102, opcode: 'rdma-read', sge: large, remote },
    { id: 103, opcode: 'fetch-add', add: 1n, sge: { offset: 8, length: 8 }, remote },
    { id: 104, opcode: 'rdma-write-with-imm', immediate: 1, sge: large, remote, signaled: true },
  ];
}

async function meet(a: Side, b: Side): Promise<void> {
  const ends = { a: await a.ends(), b: await b.ends() };
  await a.connect(ends.b, IMPATIENT);
  await b.connect(ends.a, IMPATIENT);
}

/** Both sides at full speed, each against the other, until one fails. */
async function traffic(a: Side, b: Side): Promise<{ mine: ReturnType<Side['stream']> }> {
  const sends = { a: mixture(await b.memory()), b: mixture(await a.memory()) };
  const mine = a.stream(sends.a, receives);
  // It ends with its process.
  b.stream(sends.b, receives).catch(() => undefined);
  return { mine };
}

const skip = !isSoftwareHca && 'what a process leaves is the matter of the kernel here';
const seed = chooseSeed();
t.comment(`SEED=${seed}`);
const random = randomFromSeed(seed);

for (const shareable of [false, true]) {
  const path = shareable ? 'direct' : 'copy';
  t.test(
    `a peer that is killed leaves the survivor able to go on (${path})`,
    { skip },
    async (t) => {
      const options = { shareable, sizeBytes: SIZE_BYTES };
      const a = new LocalSide(options);
      t.teardown(() => a.close());
      await a.explain();
      const before = leftovers();
      for (let round = 0; round < ROUNDS; round++) {
        const peer = Peer.start();
        const b = await peer.side(options);
        await meet(a, b);
        t.equal((await a.explain())?.path, path);
        const { mine } = await traffic(a, b);
        const afterMs = random.below(40);
        const how = random.pick(['SIGKILL', 'SIGKILL', 'exit'] as const);
        await new Promise((resolve) => void setTimeout(resolve, afterMs));
        await peer.end(how);
        const { rounds, failure } = await mine;
        const what = `round ${round}: ${how} after ${afterMs} ms and ${rounds} rounds of traffic`;
        // Retries exceeded; or flushed, when the last word of the peer was a request that failed.
        t.match(failure.status, /^(RETRY_EXC_ERR|WR_FLUSH_ERR)$/, what);
        t.equal(await a.state(), 'ERR');
        await a.reset();
      }
      t.same(leftovers(), before, 'nothing is left of the peers');
    },
  );
}

t.test('a peer that is killed while it is waited for ends the wait', { skip }, async (t) => {
  const a = new LocalSide({});
  t.teardown(() => a.close());
  const peer = Peer.start();
  const b = await peer.side({});
  await meet(a, b);
  // No receive: it waits for ever, as long as the peer is there.
  await a.send({ id: 1, opcode: 'send', sge: { offset: 0, length: 8 } });
  t.same(await a.poll(), []);
  await peer.end('SIGKILL');
  const started = performance.now();
  t.match(await a.next(), { id: 1, status: 'RETRY_EXC_ERR' });
  t.ok(performance.now() - started < WAIT_MS);
});
