/** Reliable traffic of each kind whose outcome shows that all of it was carried out, in its order and once. */
import type { Test } from 'tap';

import type { SeededRandom } from '../../seeded-random.js';
import type { Pair } from './routes.js';
import type { Send } from './side.js';

/** Of the region of each side. */
export const SIZE_BYTES = 1 << 16;
const HALF = SIZE_BYTES / 2;

const filling = (random: SeededRandom, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => random.below(256));

/** XRC's requests name the queue; others take no notice. */
const toQueue = ({ ends }: Pair): Pick<Send, 'remoteSrqn'> =>
  ends.b.srqNum === 0 ? {} : { remoteSrqn: ends.b.srqNum };

async function messages(t: Test, pair: Pair, random: SeededRandom): Promise<void> {
  const { a, b } = pair;
  await a.fill(0, filling(random, SIZE_BYTES));
  const bytes = Buffer.from(await a.read());
  const rounds = 12;
  const count = 16;
  const slot = 4096;
  for (let round = 0; round < rounds; round++) {
    const pieces = Array.from({ length: count }, () => {
      const length = random.below(slot);
      return { offset: random.below(SIZE_BYTES - length), length };
    });
    await b.fill(0, new Uint8Array(SIZE_BYTES));
    await b.receive(pieces.map((_, id) => ({ id, sge: { offset: id * slot, length: slot } })));
    await a.send(
      pieces.map((sge, id): Send => ({
        ...{ id, sge, opcode: 'send-with-imm', immediate: round * count + id, signaled: true },
        ...toQueue(pair),
      })),
    );
    for (const [id, { length }] of pieces.entries()) {
      const immediate = round * count + id;
      t.match(await b.next(), { id, status: 'SUCCESS', byteLen: length, immediate });
    }
    for (const id of pieces.keys()) t.match(await a.next(), { id, status: 'SUCCESS' });
    const expected = Buffer.alloc(SIZE_BYTES);
    for (const [id, { offset, length }] of pieces.entries()) {
      bytes.copy(expected, id * slot, offset, offset + length);
    }
    t.ok(Buffer.from(await b.read()).equals(expected), 'each message is where it belongs, whole');
  }
  t.same([...(await a.poll()), ...(await b.poll())], [], 'nothing came twice');
}

async function writesAndReads(t: Test, pair: Pair, random: SeededRandom): Promise<void> {
  const { a, b } = pair;
  const expected = { a: Buffer.from(filling(random, SIZE_BYTES)), b: Buffer.alloc(SIZE_BYTES) };
  await a.fill(0, expected.a);
  await b.fill(0, expected.b);
  const { address, rkey } = await b.memory();
  for (let round = 0; round < 20; round++) {
    const requests = Array.from({ length: 12 }, (_, id): Send => {
      const length = random.below(20_000);
      const [mine, theirs] = [random.below(HALF - length), random.below(HALF - length)];
      const opcode = random.pick(['rdma-write', 'rdma-write', 'rdma-read'] as const);
      // What is read goes where nothing is written from, and what is written where nothing is read.
      const [offset, there] =
        opcode === 'rdma-read' ? [HALF + mine, theirs] : [mine, HALF + theirs];
      const [to, at, from, source] =
        opcode === 'rdma-read'
          ? [expected.a, offset, expected.b, there]
          : [expected.b, there, expected.a, offset];
      from.copy(to, at, source, source + length);
      return {
        ...{ id, opcode, sge: { offset, length }, signaled: true, ...toQueue(pair) },
        remote: { address: address + BigInt(there), rkey },
      };
    });
    await a.send(requests);
    for (const id of requests.keys()) t.match(await a.next(), { id, status: 'SUCCESS' });
  }
  t.ok(Buffer.from(await a.read()).equals(expected.a), "a's memory is as it must be");
  t.ok(Buffer.from(await b.read()).equals(expected.b), "b's memory is as it must be");
}

async function additions(t: Test, pair: Pair): Promise<void> {
  const { a, b } = pair;
  const { address, rkey } = await b.memory();
  const count = 48;
  const rounds = 6;
  for (let round = 0; round < rounds; round++) {
    await a.send(
      Array.from({ length: count }, (_, id): Send => ({
        ...{ id, opcode: 'fetch-add', add: 1n, signaled: true, ...toQueue(pair) },
        ...{ sge: { offset: 8 * id, length: 8 }, remote: { address, rkey } },
      })),
    );
    for (let id = 0; id < count; id++) t.match(await a.next(), { id, status: 'SUCCESS' });
    const originals = Buffer.from(await a.read(0, 8 * count));
    t.ok(
      Array.from({ length: count }, (_, id) => originals.readBigUInt64LE(8 * id)).every(
        (original, id) => original === BigInt(round * count + id),
      ),
      'each saw the ones before it, once',
    );
  }
  const sum = Buffer.from(await b.read(0, 8)).readBigUInt64LE();
  t.equal(sum, BigInt(rounds * count));
}

export const BODIES = { messages, writesAndReads, additions };
