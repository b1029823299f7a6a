/**
 * RC over a network that loses, doubles and reorders packets: all that was sent arrives, once, in its order. Over the
 * routes that were given before this is loaded; who gives them harms their network.
 */
import { overRoutes } from '../verbs/traffic/routes.js';
import type { Send } from '../verbs/traffic/side.js';

const MESSAGES = 64;
const SIZE_BYTES = 4096;
const ADDEND = 3n;
/** A lost packet is sent again after some 67 ms (4.096 µs · 2^14), seven times in a row. */
const HURRIED = { timeout: 14, retryCnt: 7, mtu: 1024 } as const;
const FIRST_SLOT = 64;
const sizeBytes = FIRST_SLOT + MESSAGES * SIZE_BYTES;

const slot = (index: number): number => FIRST_SLOT + index * SIZE_BYTES;

overRoutes(
  'messages arrive once and in order',
  { connect: HURRIED, sizeBytes },
  async (t, pair) => {
    const { a, b } = pair;
    await a.fillFrom(1, slot(0), MESSAGES * SIZE_BYTES);
    for (let i = 0; i < MESSAGES; i++) {
      await b.receive({ id: i, sge: { offset: slot(i), length: SIZE_BYTES } });
      await a.send({
        id: i,
        opcode: 'send',
        sge: { offset: slot(i), length: SIZE_BYTES },
        signaled: true,
      });
    }
    for (let i = 0; i < MESSAGES; i++) {
      const sent = await a.next();
      t.match(sent, { id: i, status: 'SUCCESS' }, sent.problem ?? `${i} was sent`);
      t.match(await b.next(), { id: i, status: 'SUCCESS', byteLen: SIZE_BYTES });
    }
    t.equal(await b.differsFrom(1, slot(0), MESSAGES * SIZE_BYTES), -1, 'the data is as it was');
    t.same([...(await a.poll()), ...(await b.poll())], [], 'nothing else completed');
  },
);

for (const opcode of ['rdma-write', 'rdma-read'] as const) {
  overRoutes(`${opcode} moves its data`, { connect: HURRIED, sizeBytes }, async (t, { a, b }) => {
    const [from, to] = opcode === 'rdma-read' ? [b, a] : [a, b];
    await from.fillFrom(2, slot(0), MESSAGES * SIZE_BYTES);
    const { address, rkey } = await b.memory();
    for (let i = 0; i < MESSAGES; i++) {
      const remote = { address: address + BigInt(slot(i)), rkey };
      const sge = { offset: slot(i), length: SIZE_BYTES };
      await a.send({ id: i, opcode, sge, remote, signaled: true });
    }
    for (let i = 0; i < MESSAGES; i++) {
      const done = await a.next();
      t.match(done, { id: i, status: 'SUCCESS' }, done.problem ?? `${i} is done`);
    }
    t.equal(await to.differsFrom(2, slot(0), MESSAGES * SIZE_BYTES), -1, 'the data is as it was');
  });
}

overRoutes(
  'atomics are carried out once each',
  { connect: HURRIED, sizeBytes },
  async (t, pair) => {
    const { a, b } = pair;
    const { address, rkey } = await b.memory();
    await b.fill(0, new Uint8Array(8));
    const request: Send = {
      opcode: 'fetch-add',
      add: ADDEND,
      sge: { offset: 0, length: 8 },
      remote: { address, rkey },
      signaled: true,
    };
    for (let i = 0; i < MESSAGES; i++) {
      await a.send({ ...request, id: i });
      const done = await a.next();
      t.match(done, { id: i, status: 'SUCCESS' }, done.problem ?? `${i} is done`);
      const old = Buffer.from(await a.read(0, 8)).readBigUInt64LE();
      t.equal(old, BigInt(i) * ADDEND, 'the value before it is that of the one before');
    }
    t.equal(Buffer.from(await b.read(0, 8)).readBigUInt64LE(), BigInt(MESSAGES) * ADDEND);
  },
);
