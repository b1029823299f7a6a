/** Queues: order, signals, flushing, being full, waiting for receives, shared receives. */
import { seededRandom } from '../../seeded-random.js';
import { connect, FEATURES, overRoutes } from './routes.js';
import type { Completion, Send } from './side.js';

const PIECE = { offset: 0, length: 64 };
/** More than any queue here holds. */
const ENDLESS = 10_000;

overRoutes('a chain completes in order, its unsignaled requests silently', {}, async (t, pair) => {
  const { a, b } = pair;
  const { address, rkey } = await b.memory();
  const write = (id: number, signaled: boolean): Send => ({
    id,
    opcode: 'rdma-write',
    sge: PIECE,
    remote: { address, rkey },
    signaled,
  });
  const ids = Array.from({ length: 40 }, (_, id) => id);
  await a.send(ids.map((id) => write(id, id % 4 === 3)));
  for (const id of ids.filter((each) => each % 4 === 3)) {
    t.match(await a.next(), { id, status: 'SUCCESS', opcode: 'rdma-write' });
  }
  t.same(await a.poll(), []);
});

overRoutes(
  'a queue pair made with signalAll completes every request',
  { signalAll: true },
  async (t, { a, b }) => {
    await b.receive({ id: 1, sge: PIECE });
    await a.send({ id: 2, opcode: 'send', sge: PIECE });
    t.match(await a.next(), { id: 2, status: 'SUCCESS' });
  },
);

overRoutes('messages arrive in the order of sending, whatever they are', {}, async (t, pair) => {
  const { a, b } = pair;
  const random = seededRandom(t);
  const { address, rkey } = await b.memory();
  const count = 60;
  const size = 100;
  await b.receive(
    Array.from({ length: count }, (_, id) => ({ id, sge: { offset: id * size, length: size } })),
  );
  const kinds = Array.from({ length: count }, () =>
    random.pick(['send', 'send-with-imm', 'rdma-write-with-imm'] as const),
  );
  await a.fill(
    0,
    Uint8Array.from({ length: count * size }, (_, i) => Math.floor(i / size) + 1),
  );
  await a.send(
    kinds.map((opcode, id): Send => ({
      id,
      opcode,
      immediate: id,
      sge: { offset: id * size, length: 1 + random.below(size) },
      remote: { address: address + BigInt(id * size), rkey },
      signaled: id % 10 === 9,
    })),
  );
  for (const [id, opcode] of kinds.entries()) {
    const received = await b.next();
    t.match(received, { id, status: 'SUCCESS' });
    if (opcode !== 'send') t.equal(received.immediate, id);
  }
  const bytes = await b.read(0, count * size);
  t.ok(kinds.every((_, id) => bytes[id * size] === id + 1));
  for (let i = 9; i < count; i += 10) t.match(await a.next(), { id: i, status: 'SUCCESS' });
});

overRoutes('a fenced request waits for the read before it', {}, async (t, { a, b }) => {
  const { address, rkey } = await b.memory();
  await b.fill(0, new Uint8Array(64).fill(9));
  await b.receive({ id: 1, sge: { offset: 64, length: 64 } });
  await a.send([
    { id: 1, opcode: 'rdma-read', sge: PIECE, remote: { address, rkey } },
    { id: 2, opcode: 'send', sge: PIECE, fence: true, signaled: true },
  ]);
  t.match(await a.next(), { id: 2, status: 'SUCCESS' });
  t.match(await b.next(), { id: 1, status: 'SUCCESS' });
  t.same(await b.read(64, 64), new Uint8Array(64).fill(9), 'what was read was sent back');
});

overRoutes('the error state flushes receives and sends in order', {}, async (t, { a, b }) => {
  const ids = [1, 2, 3, 4, 5];
  await a.receive(ids.map((id) => ({ id, sge: PIECE })));
  // Without a receive at the peer they wait, for ever by default.
  await a.send(ids.map((id): Send => ({ id: 10 + id, opcode: 'send', sge: PIECE })));
  await a.modify({ qpState: 'ERR' });
  const flushed: Completion[] = [];
  for (let i = 0; i < 10; i++) flushed.push(await a.next());
  t.ok(flushed.every(({ status }) => status === 'WR_FLUSH_ERR'));
  const of = (least: number): number[] =>
    flushed.map(({ id }) => id).filter((id) => Math.floor(id / 10) === least);
  t.same(of(0), ids, 'receives in order');
  t.same(
    of(1),
    ids.map((id) => 10 + id),
    'sends in order',
  );
  if (FEATURES['flush of receives posted in the error state']) {
    await a.receive({ id: 6, sge: PIECE });
    t.match(await a.next(), { id: 6, status: 'WR_FLUSH_ERR' }, 'a receive posted later, too');
  }
  t.equal(await b.state(), 'RTS');
});

overRoutes('RESET forgets what was posted, and connects anew', {}, async (t, pair) => {
  const { a, b } = pair;
  await a.receive([1, 2, 3].map((id) => ({ id, sge: PIECE })));
  await a.reset();
  await b.reset();
  t.same(await a.poll(), []);
  await connect(pair);
  await a.receive({ id: 4, sge: PIECE });
  await b.send({ id: 5, opcode: 'send', sge: PIECE, signaled: true });
  t.match(await b.next(), { id: 5, status: 'SUCCESS' });
  t.match(await a.next(), { id: 4, status: 'SUCCESS' });
});

overRoutes(
  'a full send queue takes no more until it was polled',
  { maxSendWr: 16, needs: ['send queue that only polling frees'] },
  async (t, { a, b }) => {
    const { address, rkey } = await b.memory();
    const write: Send = {
      opcode: 'rdma-write',
      sge: PIECE,
      remote: { address, rkey },
      signaled: true,
    };
    // Devices may give more than was asked for.
    let posted = 0;
    const post = async (): Promise<void> => {
      for (; posted < ENDLESS; posted++) await a.send({ ...write, id: posted });
    };
    const refused = { code: 'ERR_VERBS_POST', message: /ENOMEM.*the queue is full/ };
    await t.rejects(post(), refused);
    t.ok(posted >= 16);
    const before = posted;
    for (let id = 0; id < before; id++) t.match(await a.next(), { id, status: 'SUCCESS' });
    await t.rejects(post(), refused);
    t.ok(posted > before, 'polling made room');
  },
);

overRoutes('a full receive queue takes no more', { maxRecvWr: 16 }, async (t, { b }) => {
  let posted = 0;
  const post = async (): Promise<void> => {
    for (; posted < ENDLESS; posted++) await b.receive({ id: posted, sge: PIECE });
  };
  await t.rejects(post(), { code: 'ERR_VERBS_POST', message: /ENOMEM/ });
  t.ok(posted >= 16);
});

overRoutes('a send waits for a receive that is posted later', {}, async (t, { a, b }) => {
  await a.send({ id: 1, opcode: 'send', sge: PIECE, signaled: true });
  t.same(await a.poll(), []);
  await b.receive({ id: 2, sge: PIECE });
  t.match(await b.next(), { id: 2, status: 'SUCCESS' });
  t.match(await a.next(), { id: 1, status: 'SUCCESS' });
});

overRoutes('a receive scatters over its pieces in their order', {}, async (t, { a, b }) => {
  await a.fill(0, Uint8Array.of(1, 2, 3, 4, 5, 6));
  const sge = [
    { offset: 40, length: 2 },
    { offset: 20, length: 0 },
    { offset: 10, length: 3 },
    { offset: 30, length: 9 },
  ];
  await b.receive({ id: 1, sge });
  await a.send({ id: 2, opcode: 'send', sge: { offset: 0, length: 6 }, signaled: true });
  t.match(await b.next(), { id: 1, status: 'SUCCESS', byteLen: 6 });
  const bytes = await b.read(0, 48);
  t.same(
    [...bytes.slice(40, 42), ...bytes.slice(10, 13), bytes[30], bytes[31]],
    [1, 2, 3, 4, 5, 6, 0],
  );
});

overRoutes(
  'a shared receive queue keeps what a queue pair in error has not taken',
  { b: { srq: true }, needs: ['event of the last receive'] },
  async (t, pair) => {
    const { a, b } = pair;
    await b.receive([1, 2].map((id) => ({ id, sge: PIECE })));
    await b.modify({ qpState: 'ERR' });
    t.equal(await b.event('QP_LAST_WQE_REACHED'), 'queue pair');
    t.same(await b.poll(), [], 'its receives are not flushed');
    await a.reset();
    await b.reset();
    await connect(pair);
    await a.send({ id: 5, opcode: 'send', sge: PIECE, signaled: true });
    t.match(await b.next(), { id: 1, status: 'SUCCESS' });
  },
);

overRoutes('both sides may send at once', {}, async (t, { a, b }) => {
  const count = 30;
  for (const side of [a, b]) {
    await side.receive(Array.from({ length: count }, (_, id) => ({ id, sge: PIECE })));
  }
  const sends = Array.from({ length: count }, (_, id): Send => ({
    id: 100 + id,
    opcode: 'send',
    sge: PIECE,
    signaled: true,
  }));
  await Promise.all([a.send(sends), b.send(sends)]);
  for (const side of [a, b]) {
    const completions = [];
    for (let i = 0; i < 2 * count; i++) completions.push(await side.next());
    t.ok(completions.every(({ status }) => status === 'SUCCESS'));
    for (const least of [0, 100]) {
      const ids = completions.map(({ id }) => id).filter((id) => id >= least && id < least + 100);
      t.same(
        ids,
        Array.from({ length: count }, (_, id) => least + id),
      );
    }
  }
});
