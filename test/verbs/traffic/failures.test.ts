/** Requests that fail: with the completion status of real hardware on both sides, and a way back from there. */
import type { Test } from 'tap';

import type { CompletionStatus } from 'viaduct/verbs';

import {
  connect,
  type Feature,
  isSoftRoce,
  isSoftwareHca,
  overRoutes,
  type Pair,
  type PairOptions,
  type Route,
} from './routes.js';
import type { Memory, Receive, Send } from './side.js';

/** The other region of a failing request's side. */
interface Scene extends Pair {
  readonly mine: Memory;
  readonly theirs: Memory;
  /** A region of the side that the case is about, with other rights or in another domain. */
  readonly other: Memory | undefined;
}

interface Case {
  readonly what: string;
  readonly options?: PairOptions;
  readonly other?: {
    readonly of: 'a' | 'b';
    readonly region: Parameters<Pair['a']['addRegion']>[0];
  };
  readonly receive?: (scene: Scene) => Receive;
  readonly request: (scene: Scene) => Partial<Send>;
  readonly status: CompletionStatus;
  /** How the peer's receive ends. */
  readonly received?: CompletionStatus;
  /** Where the kernel's Soft-RoCE has another status than hardware. */
  readonly softRoce?: { readonly status?: CompletionStatus; readonly received?: CompletionStatus };
  readonly needs?: readonly Feature[];
  /** Whether the responder's queue pair is in error, too (InfiniBand Vol. 1, 9.9.3). */
  readonly peerFails?: boolean;
}

const PIECE = { offset: 0, length: 64 };

const at = ({ address, rkey }: Memory, offset = 0): { address: bigint; rkey: number } => ({
  address: address + BigInt(offset),
  rkey,
});

const otherOf = ({ other }: Scene): Memory => {
  if (other === undefined) throw new Error('this case has no other region');
  return other;
};

const LOCAL: readonly Case[] = [
  {
    what: 'a write from memory under a garbage lkey',
    request: ({ mine }) => ({
      sge: { address: mine.address, length: 8, lkey: mine.lkey ^ 0x5a5a5a00 },
    }),
    status: 'LOC_PROT_ERR',
    softRoce: { status: 'LOC_QP_OP_ERR' },
  },
  {
    what: 'a write from beyond the end of its region',
    request: ({ mine }) => ({
      sge: { address: mine.address + BigInt(mine.byteLength - 4), length: 8, lkey: mine.lkey },
    }),
    status: 'LOC_PROT_ERR',
  },
  {
    what: 'a write from before its region',
    request: ({ mine }) => ({ sge: { address: mine.address - 4n, length: 8, lkey: mine.lkey } }),
    status: 'LOC_PROT_ERR',
  },
  {
    what: 'a write from an address that wraps around',
    request: ({ mine }) => ({ sge: { address: 2n ** 64n - 4n, length: 8, lkey: mine.lkey } }),
    status: 'LOC_PROT_ERR',
  },
  {
    what: "a write from another domain's region",
    other: { of: 'a', region: { sizeBytes: 64, ownPd: true } },
    request: (scene) => ({
      sge: { address: otherOf(scene).address, length: 8, lkey: otherOf(scene).lkey },
    }),
    status: 'LOC_PROT_ERR',
    softRoce: { status: 'LOC_QP_OP_ERR' },
  },
  {
    what: 'a read into a region without local-write',
    other: { of: 'a', region: { sizeBytes: 64, access: ['remote-read'] } },
    request: ({ other, theirs }) => ({
      opcode: 'rdma-read',
      sge: { region: other?.region ?? 0, ...PIECE },
      remote: at(theirs),
    }),
    status: 'LOC_PROT_ERR',
  },
];

const REMOTE: readonly Case[] = [
  {
    what: 'a write under a garbage rkey',
    request: ({ theirs }) => ({
      remote: { address: theirs.address, rkey: theirs.rkey ^ 0x5a5a5a00 },
    }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a read under a garbage rkey',
    request: ({ theirs }) => ({
      opcode: 'rdma-read',
      remote: { address: theirs.address, rkey: theirs.rkey ^ 0x5a5a5a00 },
    }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'an atomic under a garbage rkey',
    request: ({ theirs }) => ({
      opcode: 'fetch-add',
      sge: { offset: 0, length: 8 },
      add: 1n,
      remote: { address: theirs.address, rkey: theirs.rkey ^ 0x5a5a5a00 },
    }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a write across the end of the region',
    request: ({ theirs }) => ({ remote: at(theirs, theirs.byteLength - 63) }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a read from before the region',
    request: ({ theirs }) => ({ opcode: 'rdma-read', remote: at(theirs, -1) }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a write to an address that wraps around',
    request: ({ theirs }) => ({ remote: { address: 2n ** 64n - 32n, rkey: theirs.rkey } }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: "a write to another domain's region",
    other: { of: 'b', region: { sizeBytes: 64, ownPd: true } },
    request: (scene) => ({ remote: at(otherOf(scene)) }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a write to a region without remote-write',
    other: { of: 'b', region: { sizeBytes: 64, access: ['local-write', 'remote-read'] } },
    request: (scene) => ({ remote: at(otherOf(scene)) }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a read from a region without remote-read',
    other: { of: 'b', region: { sizeBytes: 64, access: ['local-write', 'remote-write'] } },
    request: (scene) => ({ opcode: 'rdma-read', remote: at(otherOf(scene)) }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'an atomic on a region without remote-atomic',
    other: { of: 'b', region: { sizeBytes: 64, access: ['local-write', 'remote-write'] } },
    request: (scene) => ({
      opcode: 'fetch-add',
      sge: { offset: 0, length: 8 },
      add: 1n,
      remote: at(otherOf(scene)),
    }),
    status: 'REM_ACCESS_ERR',
  },
  {
    what: 'a write with immediate under a garbage rkey',
    receive: () => ({ id: 5, sge: PIECE }),
    request: ({ theirs }) => ({
      opcode: 'rdma-write-with-imm',
      immediate: 1,
      remote: { address: theirs.address, rkey: theirs.rkey ^ 0x5a5a5a00 },
    }),
    status: 'REM_ACCESS_ERR',
    received: 'WR_FLUSH_ERR',
    softRoce: { received: 'REM_ACCESS_ERR' },
  },
  ...(['rdma-write', 'rdma-read', 'fetch-add'] as const).map((opcode): Case => ({
    what: `${opcode} to a queue pair without that right`,
    options: { connect: { access: ['local-write'] } },
    request: ({ theirs }) => ({
      opcode,
      sge: { offset: 0, length: 8 },
      add: 1n,
      remote: at(theirs),
    }),
    status: 'REM_INV_REQ_ERR',
  })),
  {
    what: 'an atomic on an address that is not aligned',
    request: ({ theirs }) => ({
      opcode: 'compare-swap',
      sge: { offset: 0, length: 8 },
      compare: 0n,
      swap: 1n,
      remote: at(theirs, 4),
    }),
    status: 'REM_INV_REQ_ERR',
    needs: ['atomics that are not aligned'],
  },
  {
    what: 'a message longer than its receive',
    receive: () => ({ id: 5, sge: { offset: 0, length: 63 } }),
    request: () => ({ opcode: 'send' }),
    status: 'REM_INV_REQ_ERR',
    received: 'LOC_LEN_ERR',
    softRoce: { status: 'REM_OP_ERR', received: 'LOC_QP_OP_ERR' },
  },
  {
    what: 'a message to a receive under a garbage lkey',
    receive: ({ theirs }) => ({
      id: 5,
      sge: { address: theirs.address, length: 64, lkey: theirs.lkey ^ 0x5a5a5a00 },
    }),
    request: () => ({ opcode: 'send' }),
    status: 'REM_OP_ERR',
    received: 'LOC_PROT_ERR',
    softRoce: { received: 'LOC_QP_OP_ERR' },
  },
  {
    what: 'a message to a receive whose region lacks local-write',
    other: { of: 'b', region: { sizeBytes: 64, access: ['remote-read'] } },
    receive: (scene) => ({ id: 5, sge: { region: otherOf(scene).region, ...PIECE } }),
    request: () => ({ opcode: 'send' }),
    status: 'REM_OP_ERR',
    received: 'LOC_PROT_ERR',
    softRoce: { received: 'LOC_QP_OP_ERR' },
  },
];

const NOBODY: readonly Case[] = [
  {
    what: 'a message to a peer without a receive',
    options: { connect: { rnrRetry: 1, minRnrTimer: 1 } },
    request: () => ({ opcode: 'send' }),
    status: 'RNR_RETRY_EXC_ERR',
    peerFails: false,
  },
  {
    what: 'a write with immediate to a peer without a receive',
    options: { connect: { rnrRetry: 1, minRnrTimer: 1 } },
    request: ({ theirs }) => ({ opcode: 'rdma-write-with-imm', immediate: 1, remote: at(theirs) }),
    status: 'RNR_RETRY_EXC_ERR',
    peerFails: false,
  },
];

async function sceneOf({ other }: Case, pair: Pair): Promise<Scene> {
  const { a, b } = pair;
  return {
    ...pair,
    mine: await a.memory(),
    theirs: await b.memory(),
    other: other && (await pair[other.of].addRegion(other.region)),
  };
}

/** After an error: both queue pairs through RESET, and traffic again. */
async function recover(t: Test, pair: Pair, theirs: Memory): Promise<void> {
  const { a, b } = pair;
  await a.reset();
  await b.reset();
  await connect(pair);
  await a.send({ id: 90, opcode: 'rdma-write', sge: PIECE, remote: at(theirs), signaled: true });
  t.match(await a.next(), { id: 90, status: 'SUCCESS' }, 'it works again after RESET');
}

/** A device finds local errors of its own; what is remote, the other one says. */
function expectedOf(
  each: Case,
  { at }: Route,
): { status: CompletionStatus; received: CompletionStatus | undefined } {
  const { status = each.status, received = each.received } = each.softRoce ?? {};
  const finder = each.status.startsWith('LOC_') ? at.a : at.b;
  return {
    status: isSoftRoce(finder) ? status : each.status,
    received: isSoftRoce(at.b) ? received : each.received,
  };
}

function failing(each: Case, peerFails: boolean): void {
  const { what, options = {} } = each;
  const atomics = what.includes('atomic') || what.includes('fetch-add');
  const needs = [...(each.needs ?? []), ...(atomics ? (['atomics'] as const) : [])];
  const there = each.received === undefined ? '' : ` and ${each.received} there`;
  const ends = `${what} ends with ${each.status}${there}`;
  overRoutes(ends, { ...options, needs }, async (t, pair, route) => {
    const { a, b } = pair;
    const { status, received } = expectedOf(each, route);
    const scene = await sceneOf(each, pair);
    const untouched = await b.read(0, 8192);
    if (each.receive !== undefined) await b.receive(each.receive(scene));
    const good: Send = { opcode: 'rdma-write', sge: PIECE, remote: at(scene.theirs) };
    await a.send({ ...good, id: 7, ...each.request(scene) });
    const failed = await a.next();
    t.match(failed, { id: 7, status });
    // What the library says of it: status, work request, queue pair, and a cause.
    const { qpn } = pair.ends.a.sending;
    t.match(failed.problem, `work request 7 of queue pair ${qpn} ended with ${status} `);
    t.notMatch(failed.problem, 'see ibv_poll_cq');
    if (received !== undefined) t.match(await b.next(), { id: 5, status: received });
    t.equal(await a.state(), 'ERR');
    await a.send({ ...good, id: 8 });
    t.match(await a.next(), { id: 8, status: 'WR_FLUSH_ERR' }, 'what follows is flushed');
    if (each.peerFails ?? peerFails) t.equal(await b.state(), 'ERR', 'the responder fails, too');
    t.ok(Buffer.from(await b.read(0, 8192)).equals(untouched), "the peer's memory is as it was");
    await recover(t, pair, scene.theirs);
  });
}

for (const each of LOCAL) failing(each, false);
for (const each of REMOTE) failing(each, true);
for (const each of NOBODY) failing(each, false);

// Timeouts are 4.096 µs · 2^timeout (InfiniBand Vol. 1, 9.7.6.1.3).
const IMPATIENT = { timeout: 8, retryCnt: 1 } as const;

overRoutes(
  'a request to a queue pair that is gone ends with RETRY_EXC_ERR',
  { connect: IMPATIENT },
  async (t, { a, b }) => {
    const theirs = await b.memory();
    await b.closeQueuePair();
    await a.send({ id: 1, opcode: 'rdma-write', sge: PIECE, remote: at(theirs) });
    t.match(await a.next(), { id: 1, status: 'RETRY_EXC_ERR' });
  },
);

overRoutes(
  'a request to a queue pair in the error state ends with RETRY_EXC_ERR',
  { connect: IMPATIENT },
  async (t, { a, b }) => {
    const theirs = await b.memory();
    await b.modify({ qpState: 'ERR' });
    await a.send({ id: 1, opcode: 'rdma-read', sge: PIECE, remote: at(theirs) });
    t.match(await a.next(), { id: 1, status: 'RETRY_EXC_ERR' });
  },
);

overRoutes(
  'a peer that is connected to somebody else does not answer',
  { connect: IMPATIENT },
  async (t, pair) => {
    const { a, b, ends } = pair;
    const theirs = await b.memory();
    // b lies: it says that it is connected here, and is connected to itself.
    await b.reset();
    await b.connect(ends.b);
    await a.send({ id: 1, opcode: 'rdma-write', sge: PIECE, remote: at(theirs) });
    t.match(await a.next(), { id: 1, status: 'RETRY_EXC_ERR' });
  },
);

overRoutes(
  'a peer that lies about where it can be reached',
  { connect: IMPATIENT },
  async (t, pair) => {
    const { a, b, ends } = pair;
    const theirs = await b.memory();
    const nowhere = { ...ends.b.receiving, qpn: 0x3ffff };
    await a.reset();
    await a.connect({ ...ends.b, receiving: nowhere }, IMPATIENT);
    await a.send({ id: 1, opcode: 'send', sge: PIECE });
    t.match(await a.next(), { id: 1, status: 'RETRY_EXC_ERR' });
    await recover(t, pair, theirs);
  },
);

overRoutes('a peer that ends a region while it is written to', {}, async (t, pair) => {
  const { a, b } = pair;
  const other = await b.addRegion({ sizeBytes: 4096 });
  const request: Send = {
    opcode: 'rdma-write',
    sge: { offset: 0, length: 4096 },
    remote: at(other),
  };
  const streaming = a.stream([request, { ...request, signaled: true }], []);
  await new Promise((resolve) => void setTimeout(resolve, 5));
  await b.closeRegion(other.region);
  const { failure } = await streaming;
  t.equal(failure.status, 'REM_ACCESS_ERR');
});

overRoutes(
  'an XRC message to a number that is no queue is refused',
  { type: 'XRC' },
  async (t, pair) => {
    const { a, b, ends } = pair;
    const remoteSrqn = ends.b.srqNum ^ 0xff;
    await a.send({ id: 1, opcode: 'send', sge: PIECE, remoteSrqn });
    t.match(await a.next(), { id: 1, status: 'REM_INV_REQ_ERR' });
    t.equal(await b.receiverState(), 'ERR');
  },
);

for (const what of ['garbage rkey', 'receive too small'] as const) {
  const needs: readonly Feature[] =
    what === 'receive too small' ? ['UC that drops what does not fit'] : [];
  overRoutes(
    `UC drops a message with a ${what} silently`,
    { type: 'UC', needs },
    async (t, { a, b }) => {
      const theirs = await b.memory();
      await b.fill(0, new Uint8Array(8192).fill(7));
      const wrong: Send =
        what === 'garbage rkey'
          ? { opcode: 'rdma-write', remote: { ...at(theirs), rkey: theirs.rkey ^ 0x5a5a5a00 } }
          : { opcode: 'send' };
      await b.receive({ id: 5, sge: { offset: 4096, length: 63 } });
      await a.send({ ...wrong, id: 1, sge: PIECE, signaled: true });
      t.match(await a.next(), { id: 1, status: 'SUCCESS' });
      await a.send({ id: 2, opcode: 'send', sge: { offset: 0, length: 8 }, signaled: true });
      t.match(await a.next(), { id: 2, status: 'SUCCESS' });
      t.match(await b.next(), { id: 5, status: 'SUCCESS', byteLen: 8 }, 'the next one arrives');
      const bytes = await b.read(0, 4096);
      t.ok(
        bytes.every((byte) => byte === 7),
        'nothing was written',
      );
    },
  );
}

for (const type of ['UC', 'UD'] as const) {
  overRoutes(
    `a local error stops the sends of ${type} alone`,
    { type },
    async (t, { a, b, ends }, { at }) => {
      const mine = await a.memory();
      const to = type === 'UD' ? { to: ends.b.receiving } : {};
      const wrong = { address: mine.address, length: 8, lkey: mine.lkey ^ 0x5a5a5a00 };
      await a.send({ id: 1, opcode: 'send', sge: wrong, ...to });
      t.match(await a.next(), {
        id: 1,
        status: isSoftRoce(at.a) ? 'LOC_QP_OP_ERR' : 'LOC_PROT_ERR',
      });
      if (!isSoftwareHca) {
        t.comment('devices differ in the state that they go to; that of the specification is SQE');
        return;
      }
      t.equal(await a.state(), 'SQE');
      await a.modify({ qpState: 'RTS', curQpState: 'SQE' });
      await b.receive({ id: 5, sge: { offset: 0, length: 512 } });
      await a.send({ id: 2, opcode: 'send', sge: PIECE, ...to });
      t.match(await b.next(), { id: 5, status: 'SUCCESS' });
    },
  );
}
