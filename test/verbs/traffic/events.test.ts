/** Completion channels, solicited events, asynchronous events. */
import type { Endpoint, QueuePairAttributes } from 'viaduct/verbs';

import { facts, lacking, overRoutes } from './routes.js';
import type { Send } from './side.js';

const PIECE = { offset: 0, length: 64 };
/** For an event that must not come; one that must come is awaited for longer. */
const BRIEFLY_MS = 50;
const LONG_MS = 10_000;

/** What a queue pair must know to receive from this one. */
function readyToReceive(
  { qpn, psn, mtu, gid, lid }: Endpoint,
  sgidIndex: number,
): QueuePairAttributes {
  // Ethernet has no LIDs.
  const global = lid === 0 && gid !== null;
  return {
    qpState: 'RTR',
    pathMtu: mtu,
    destQpNum: qpn,
    rqPsn: psn,
    maxDestRdAtomic: 1,
    minRnrTimer: 12,
    ahAttr: { dlid: lid, ...(global ? { dgid: gid, sgidIndex } : {}) },
  };
}

overRoutes('a channel has one event for each time that it was asked', {}, async (t, { a, b }) => {
  await b.receive([1, 2].map((id) => ({ id, sge: PIECE })));
  await b.arm(false);
  await a.send({ id: 5, opcode: 'send', sge: PIECE, signaled: true });
  t.ok(await b.channelEvent(LONG_MS), 'a completion raises an event');
  t.match(await b.next(), { id: 1 });
  await a.send({ id: 6, opcode: 'send', sge: PIECE, signaled: true });
  t.match(await a.next(), { id: 5 });
  t.match(await a.next(), { id: 6 });
  t.notOk(await b.channelEvent(BRIEFLY_MS), 'but not a second one unasked');
  t.match(await b.next(), { id: 2 });
});

for (const opcode of ['send', 'rdma-write-with-imm'] as const) {
  overRoutes(
    `who asks for solicited events sleeps through other completions of ${opcode}`,
    {},
    async (t, pair) => {
      const { a, b } = pair;
      const remote = await b.memory();
      const request: Send = { opcode, sge: PIECE, remote, immediate: 1, signaled: true };
      await b.receive([1, 2].map((id) => ({ id, sge: PIECE })));
      await b.arm(true);
      await a.send({ ...request, id: 5 });
      t.match(await a.next(), { id: 5, status: 'SUCCESS' });
      t.notOk(await b.channelEvent(BRIEFLY_MS), 'an ordinary message raises none');
      await a.send({ ...request, id: 6, solicited: true });
      t.ok(await b.channelEvent(LONG_MS), 'a solicited one does');
      t.match([await b.next(), await b.next()], [{ id: 1 }, { id: 2 }]);
    },
  );
}

overRoutes('an error is an event even for who asks for solicited ones', {}, async (t, { b }) => {
  await b.receive({ id: 1, sge: PIECE });
  await b.arm(true);
  await b.modify({ qpState: 'ERR' });
  t.ok(await b.channelEvent(LONG_MS));
  t.match(await b.next(), { id: 1, status: 'WR_FLUSH_ERR' });
});

overRoutes('a datagram may be solicited, too', { type: 'UD' }, async (t, { a, b, ends }) => {
  await b.receive({ id: 1, sge: { offset: 0, length: 512 } });
  await b.arm(true);
  await a.send({ opcode: 'send', sge: PIECE, solicited: true, to: ends.b.receiving });
  t.ok(await b.channelEvent(LONG_MS));
  t.match(await b.next(), { id: 1, status: 'SUCCESS' });
});

overRoutes(
  'a shared receive queue says when few receives are left',
  { b: { srq: true } },
  async (t, pair) => {
    const { a, b } = pair;
    await b.receive([1, 2, 3].map((id) => ({ id, sge: PIECE })));
    await b.armLimit(2);
    for (const id of [1, 2]) {
      await a.send({ opcode: 'send', sge: PIECE, signaled: true });
      t.match(await b.next(), { id, status: 'SUCCESS' });
    }
    t.equal(await b.event('SRQ_LIMIT_REACHED'), 'queue');
  },
);

overRoutes(
  'a queue pair with a shared receive queue reports its last receive',
  { b: { srq: true }, needs: ['event of the last receive'] },
  async (t, { b }) => {
    await b.modify({ qpState: 'ERR' });
    t.equal(await b.event('QP_LAST_WQE_REACHED'), 'queue pair');
  },
);

overRoutes(
  'the responder of a bad request has an event of it',
  { needs: ['events of bad requests'] },
  async (t, { a, b }) => {
    const { address, rkey } = await b.memory();
    await a.send({
      opcode: 'rdma-write',
      sge: PIECE,
      remote: { address, rkey: rkey ^ 0x5a5a5a00 },
    });
    t.match(await a.next(), { status: 'REM_ACCESS_ERR' });
    t.equal(await b.event('QP_ACCESS_ERR'), 'queue pair');
  },
);

overRoutes(
  'an unaligned atomic is an event of the responder',
  { needs: ['atomics', 'events of bad requests'] },
  async (t, { a, b }) => {
    const { address, rkey } = await b.memory();
    const remote = { address: address + 4n, rkey };
    await a.send({ opcode: 'fetch-add', add: 1n, sge: { offset: 0, length: 8 }, remote });
    t.match(await a.next(), { status: 'REM_INV_REQ_ERR' });
    t.equal(await b.event('QP_REQ_ERR'), 'queue pair');
  },
);

overRoutes(
  'the first message before RTS says that the connection is there',
  { needs: ['event of the first message'] },
  async (t, pair, { gidIndex = facts.gidIndex }) => {
    const { a, b, ends } = pair;
    await b.reset();
    await a.reset();
    await a.connect(ends.b);
    await b.modify({ qpState: 'INIT', portNum: 1, pkeyIndex: 0, qpAccessFlags: ['remote-write'] });
    await b.modify(readyToReceive(ends.a.sending, gidIndex));
    await a.send({
      id: 1,
      opcode: 'rdma-write',
      sge: PIECE,
      remote: await b.memory(),
      signaled: true,
    });
    t.match(await a.next(), { id: 1, status: 'SUCCESS' });
    t.equal(await b.event('COMM_EST'), 'queue pair');
  },
);

overRoutes('a send queue says when it has drained', {}, async (t, { a, b }) => {
  await b.receive({ id: 1, sge: PIECE });
  await a.send({ id: 2, opcode: 'send', sge: PIECE, signaled: true });
  await a.modify({ qpState: 'SQD', enSqdAsyncNotify: 1 });
  t.equal(await a.event('SQ_DRAINED'), 'queue pair');
  t.match(await a.next(), { id: 2, status: 'SUCCESS' });
  await a.modify({ qpState: 'RTS' });
  t.equal(await a.state(), 'RTS');
});

overRoutes(
  'a queue that overruns is an event, and no crash',
  { b: { completions: 4 } },
  async (t, { a, b }) => {
    const ids = Array.from({ length: 40 }, (_, id) => id);
    await b.receive(ids.map((id) => ({ id, sge: PIECE })));
    await a.send(ids.map((id): Send => ({ id, opcode: 'send', sge: PIECE, signaled: true })));
    t.equal(await b.event('CQ_ERR'), 'completions');
  },
);

overRoutes(
  'completions of an extended queue say when they were',
  { extended: lacking(['timestamps']) === false, needs: ['timestamps'] },
  async (t, { a, b }) => {
    const { address, rkey } = await b.memory();
    const write: Send = {
      opcode: 'rdma-write',
      sge: PIECE,
      remote: { address, rkey },
      signaled: true,
    };
    await a.send([write, write]);
    const [first, second] = [await a.next(), await a.next()];
    t.ok(first.timestamp > 0n);
    t.ok(second.timestamp >= first.timestamp);
  },
);
