/** Datagrams and multicast: what is dropped, and how one answers. */
import type { Endpoint } from 'viaduct/verbs';

import { facts, openPair, overRoutes } from './routes.js';
import { GRH_BYTES } from './side.js';

const PIECE = { offset: 1024, length: 64 };
const RECEIVE = { offset: 0, length: 512 };
const { activeMtu } = facts.port;

overRoutes(
  'a datagram can be answered by the header that it brought',
  { type: 'UD' },
  async (t, pair) => {
    const { a, b, ends } = pair;
    await b.receive({ id: 1, sge: RECEIVE });
    await a.receive({ id: 2, sge: RECEIVE });
    await a.send({ opcode: 'send', sge: PIECE, to: ends.b.receiving });
    const received = await b.next();
    t.match(received, { id: 1, status: 'SUCCESS', srcQp: ends.a.sending.qpn });
    await b.fill(1024, new Uint8Array(64).fill(77));
    // The answer needs a's Q_Key, which no datagram carries: here both have the same.
    await b.modify({ qpState: 'RTS', qkey: 5 });
    await a.modify({ qpState: 'RTS', qkey: 5 });
    await b.send({ opcode: 'send', sge: PIECE, to: 'sender', id: 3, remoteQkey: 5 });
    t.match(await a.next(), { id: 2, status: 'SUCCESS', srcQp: ends.b.sending.qpn });
    t.same(await a.read(GRH_BYTES, 64), new Uint8Array(64).fill(77));
  },
);

overRoutes(
  'one queue pair serves any number of senders',
  { type: 'UD' },
  async (t, pair, route) => {
    const { b, ends } = pair;
    const others = [pair, await openPair(t, route, { type: 'UD' })];
    await b.receive([2, 3].map((id) => ({ id, sge: RECEIVE })));
    for (const { a } of others) await a.send({ opcode: 'send', sge: PIECE, to: ends.b.receiving });
    const sources = [(await b.next()).srcQp, (await b.next()).srcQp];
    t.same(sources.sort(), others.map((each) => each.ends.a.sending.qpn).sort());
  },
);

const DROPPED: readonly (readonly [string, (to: Endpoint) => Endpoint, number])[] = [
  ['with a wrong Q_Key', (to) => ({ ...to, qkey: to.qkey ^ 1 }), 512],
  ['to no queue pair', (to) => ({ ...to, qpn: 0x3ffff }), 512],
];

for (const [what, change] of DROPPED) {
  overRoutes(
    `a datagram ${what} is dropped, and its sender does not learn it`,
    { type: 'UD' },
    async (t, pair) => {
      const { a, b, ends } = pair;
      await b.receive({ id: 1, sge: RECEIVE });
      await a.send({
        id: 2,
        opcode: 'send',
        sge: PIECE,
        signaled: true,
        to: change(ends.b.receiving),
      });
      t.match(await a.next(), { id: 2, status: 'SUCCESS' });
      await a.send({
        id: 3,
        opcode: 'send-with-imm',
        immediate: 9,
        sge: PIECE,
        to: ends.b.receiving,
      });
      t.match(await b.next(), { id: 1, status: 'SUCCESS', immediate: 9 }, 'the next one arrives');
      t.equal(await b.state(), 'RTS');
    },
  );
}

overRoutes('a datagram without a receive is dropped', { type: 'UD' }, async (t, { a, b, ends }) => {
  await a.send({ id: 1, opcode: 'send', sge: PIECE, signaled: true, to: ends.b.receiving });
  t.match(await a.next(), { id: 1, status: 'SUCCESS' });
  t.same(await b.poll(), []);
});

overRoutes(
  'a datagram longer than the MTU is not sent',
  { type: 'UD', sizeBytes: 3 * activeMtu },
  async (t, { a, b, ends }) => {
    await b.receive({ id: 1, sge: { offset: 0, length: 2 * activeMtu + GRH_BYTES } });
    const sge = { offset: 0, length: activeMtu + 1 };
    await a.send({ id: 2, opcode: 'send', sge, signaled: true, to: ends.b.receiving });
    const { id, status } = await a.next();
    t.equal(id, 2);
    // InfiniBand Vol. 1, C10-93.1.1: no packet, and no error; adapters report one all the same.
    t.ok(['SUCCESS', 'LOC_LEN_ERR'].includes(status), status);
    t.same(await b.poll(), []);
  },
);

/** On a port of RoCE, one of IPv4, as the addresses there are: 239.77.190.239. */
const groupOf = ({ gid }: Endpoint): string =>
  gid?.includes(':ffff:') === true
    ? '0000:0000:0000:0000:0000:ffff:ef4d:beef'
    : 'ff12:0000:0000:0000:0000:0000:0000:beef';
const GROUP_LID = 0xc001;
/** The queue pair number of all members (InfiniBand Vol. 1, 3.5.3). */
const EVERY_MEMBER = 0xffffff;

overRoutes(
  'members of a multicast group get what is sent to it, and nothing after they left',
  { type: 'UD', needs: ['multicast', 'multicast to its own port'] },
  async (t, { a, b, ends }) => {
    const group = groupOf(ends.b.receiving);
    const to = { ...ends.b.receiving, qpn: EVERY_MEMBER, gid: group, lid: GROUP_LID };
    await b.join(group, GROUP_LID);
    await b.receive([1, 2].map((id) => ({ id, sge: RECEIVE })));
    await a.fill(PIECE.offset, new Uint8Array(64).fill(3));
    await a.send({ id: 5, opcode: 'send', sge: PIECE, to, signaled: true });
    t.match(await a.next(), { id: 5, status: 'SUCCESS' });
    t.match(await b.next(), { id: 1, status: 'SUCCESS', byteLen: GRH_BYTES + 64 });
    t.same(await b.read(GRH_BYTES, 64), new Uint8Array(64).fill(3));
    await b.leave(group, GROUP_LID);
    await a.send({ id: 6, opcode: 'send', sge: PIECE, to, signaled: true });
    t.match(await a.next(), { id: 6, status: 'SUCCESS' });
    await a.send({
      id: 7,
      opcode: 'send-with-imm',
      immediate: 7,
      sge: PIECE,
      to: ends.b.receiving,
    });
    t.match(await b.next(), { id: 2, immediate: 7 }, 'what comes next is not of the group');
  },
);
