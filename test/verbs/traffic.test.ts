/** Every opcode on every type of queue pair that has it, by both ways of posting. */
import t from 'tap';

import type { MemoryWindow, QueuePairType, SendOpcode, SendWorkRequest } from 'viaduct/verbs';

import { seededRandom } from '../seeded-random.js';
import { ALL_ACCESS, next, open, pair, side, type Side } from './pair.js';

const SENDS: readonly SendOpcode[] = ['send', 'send-with-imm'];
const WRITES: readonly SendOpcode[] = ['rdma-write', 'rdma-write-with-imm'];
const ATOMICS: readonly SendOpcode[] = ['compare-swap', 'fetch-add'];

const OPCODES: Readonly<Partial<Record<QueuePairType, readonly SendOpcode[]>>> = {
  RC: [...SENDS, 'send-with-invalidate', ...WRITES, 'rdma-read', ...ATOMICS],
  UC: [...SENDS, ...WRITES],
  UD: SENDS,
};

const GRH_BYTES = 40;
const IMMEDIATE = 0xdecafbad;

interface Shape {
  readonly type: QueuePairType;
  readonly opcode: SendOpcode;
  readonly pieces: number;
  readonly inline: boolean;
  readonly newer: boolean;
}

function datagram(a: Side, b: Side): Partial<SendWorkRequest> {
  const { gid, lid, qpn, qkey } = b.qp.endpoint();
  if (gid === null) throw new Error('the port has no GID');
  return { address: a.pd.createAh({ dgid: gid, dlid: lid }), remoteQpn: qpn, remoteQkey: qkey };
}

/** A type 2 window over all of a region: what a peer may end by a send (InfiniBand Vol. 1, 10.6.5). */
async function openWindow(side: Side): Promise<MemoryWindow> {
  const window = side.pd.allocMw(2);
  const bind = { region: side.region, access: ['remote-write'] } as const;
  side.qp.postSend({ opcode: 'bind-mw', window, bind, signaled: true });
  (await next(side)).check();
  return window;
}

function requestOf(
  shape: Shape,
  a: Side,
  b: Side,
  length: number,
  window?: MemoryWindow,
): SendWorkRequest {
  const { opcode, pieces, inline } = shape;
  const atomic = opcode === 'compare-swap' || opcode === 'fetch-add';
  const total = atomic ? 8 : length;
  const each = Math.floor(total / pieces);
  const sge = Array.from({ length: pieces }, (_, i) =>
    a.region.slice(i * each, i === pieces - 1 ? total - i * each : each),
  );
  return {
    id: 7,
    opcode,
    signaled: true,
    ...(inline ? { inline: a.bytes.slice(0, total) } : { sge }),
    remote: b.region.remote(),
    immediate: IMMEDIATE,
    compare: 5n,
    swap: 6n,
    add: 3n,
    ...(window === undefined ? {} : { invalidateRkey: window.rkey }),
    ...(shape.type === 'UD' ? datagram(a, b) : {}),
  };
}

const sendsSomething = (opcode: SendOpcode): boolean =>
  opcode.startsWith('send') || opcode === 'rdma-write-with-imm';

for (const [type, opcodes] of Object.entries(OPCODES) as [QueuePairType, SendOpcode[]][]) {
  for (const opcode of opcodes) {
    const writes = opcode.startsWith('send') || opcode.startsWith('rdma-write');
    for (const newer of [false, true]) {
      for (const [pieces, inline] of [
        [1, false],
        [3, false],
        [1, true],
      ] as const) {
        if ((inline && !writes) || (pieces > 1 && opcode.includes('-') && !writes)) continue;
        const how = `${inline ? 'inline' : `${pieces} pieces`}, ${newer ? 'ibv_wr_*' : 'ibv_post_send'}`;
        t.test(`${type} ${opcode} moves its bytes (${how})`, async (t) => {
          const random = seededRandom(t);
          const { a, b } = pair(t, {
            type,
            maxInlineBytes: 256,
            extended: newer,
            ...(newer ? { sendOps: type === 'RC' ? [...opcodes, 'bind-mw'] : opcodes } : {}),
          });
          const length = inline ? 200 : 1000;
          for (let i = 0; i < length; i++) a.bytes[i] = random.below(256);
          for (let i = 0; i < length; i++) b.bytes[i] = random.below(256);
          const before = { a: a.bytes.slice(), b: b.bytes.slice() };
          if (sendsSomething(opcode)) b.qp.postRecv({ id: 9, sge: b.region.slice() });
          const window = opcode === 'send-with-invalidate' ? await openWindow(b) : undefined;
          a.qp.postSend(requestOf({ type, opcode, pieces, inline, newer }, a, b, length, window));
          const sent = (await next(a)).check();
          t.equal(sent.id, 7);
          if (sendsSomething(opcode)) {
            const received = (await next(b)).check();
            const offset = type === 'UD' ? GRH_BYTES : 0;
            t.equal(received.id, 9);
            t.equal(received.byteLen, length + offset);
            t.equal(received.immediate, opcode.endsWith('imm') ? IMMEDIATE : undefined);
            t.equal(received.invalidatedRkey, window?.rkey);
            t.same(b.bytes.slice(offset, offset + length), before.a.slice(0, length));
          } else if (opcode === 'rdma-write') {
            t.same(b.bytes.slice(0, length), before.a.slice(0, length));
          } else if (opcode === 'rdma-read') {
            t.same(a.bytes.slice(0, length), before.b.slice(0, length));
          } else {
            const old = new DataView(before.b.buffer).getBigUint64(0, true);
            const now = new DataView(b.bytes.buffer).getBigUint64(0, true);
            t.equal(new DataView(a.bytes.buffer).getBigUint64(0, true), old);
            t.equal(
              now,
              opcode === 'fetch-add' ? BigInt.asUintN(64, old + 3n) : old === 5n ? 6n : old,
            );
          }
          t.same(a.bytes.slice(length), before.a.slice(length), 'nothing beside it changed');
        });
      }
    }
  }
}

t.test('a compare and swap that matches replaces the value', async (t) => {
  const { a, b } = pair(t);
  b.bytes[0] = 5;
  a.qp.postSend(
    requestOf(
      { type: 'RC', opcode: 'compare-swap', pieces: 1, inline: false, newer: false },
      a,
      b,
      8,
    ),
  );
  (await next(a)).check();
  t.equal(b.bytes[0], 6);
  t.equal(a.bytes[0], 5);
});

for (const size of [0, 1, 8, 4096, 2 ** 20 + 3]) {
  t.test(`a message of ${size} bytes arrives whole`, async (t) => {
    const random = seededRandom(t);
    const { a, b } = pair(t, { sizeBytes: Math.max(size, 1) });
    for (let i = 0; i < size; i++) a.bytes[i] = random.below(256);
    b.qp.postRecv({ id: 1, sge: b.region.slice() });
    a.qp.postSend({ id: 2, opcode: 'send', sge: a.region.slice(0, size), signaled: true });
    (await next(a)).check();
    t.equal((await next(b)).check().byteLen, size);
    t.ok(Buffer.from(a.bytes).subarray(0, size).equals(Buffer.from(b.bytes).subarray(0, size)));
  });
}

t.test('an unsignaled request completes silently, a chain completes in order', async (t) => {
  const { a, b } = pair(t);
  const one = (id: number, signaled: boolean): SendWorkRequest => ({
    id,
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: b.region.remote(),
    signaled,
  });
  a.qp.postSend([one(1, false), one(2, true), one(3, false), one(4, true)]);
  const ids = [(await next(a)).check().id, (await next(a)).check().id];
  t.same(ids, [2, 4]);
  t.same(a.cq.poll(), []);
});

t.test('rings post and poll in batches', (t) => {
  const { a, b } = pair(t);
  const requests = a.qp.sendRing(32);
  const completions = a.cq.ring(32);
  const { address, rkey } = b.region.remote(64);
  for (let i = 0; i < 32; i++) {
    a.bytes[i] = i + 1;
    const remote = address + BigInt(i);
    requests.rdmaWrite(
      i,
      2 ** 40 + i,
      a.region,
      i,
      1,
      Number(remote & 0xffffffffn),
      Number(remote >> 32n),
      rkey,
      2,
    );
  }
  a.qp.post(requests, 0, 32);
  t.equal(a.cq.pollInto(completions), 32);
  for (let i = 0; i < 32; i++) {
    t.equal(completions.id(i), 2 ** 40 + i);
    t.equal(completions.status(i), 0);
  }
  t.same(b.bytes.slice(64, 96), a.bytes.slice(0, 32));
  t.end();
});

t.test('a receive scatters over several pieces', async (t) => {
  const { a, b } = pair(t);
  a.bytes.set([1, 2, 3, 4, 5]);
  b.qp.postRecv({ sge: [b.region.slice(10, 2), b.region.slice(20, 3)] });
  a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 5), signaled: true });
  (await next(b)).check();
  t.same([...b.bytes.slice(10, 12), ...b.bytes.slice(20, 23)], [1, 2, 3, 4, 5]);
});

t.test('a shared receive queue serves two queue pairs and raises its limit event', async (t) => {
  const device = open(t);
  const b = side(device, {});
  const srq = b.pd.createSrq({ maxWr: 8 });
  const senders = [side(device, {}), side(device, {})];
  for (const a of senders) {
    const qp = b.pd.createQp({ type: 'RC', sendCq: b.cq, srq });
    a.qp.connect(qp.endpoint());
    qp.connect(a.qp.endpoint());
  }
  for (let id = 0; id < 3; id++) srq.postRecv({ id, sge: b.region.slice(id * 8, 8) });
  srq.armLimit(2);
  for (const [i, a] of senders.entries()) {
    a.bytes[0] = 10 + i;
    a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 8), signaled: true });
    (await next(a)).check();
    t.equal((await next(b)).check().id, i);
  }
  t.same([b.bytes[0], b.bytes[8]], [10, 11]);
  const event = await device.nextEvent({ timeoutMs: 10_000 });
  t.equal(event.type, 'SRQ_LIMIT_REACHED');
  t.equal(event.sharedReceiveQueue, srq);
});

t.test('XRC delivers to the shared receive queue that the sender names', async (t) => {
  const device = open(t);
  const xrcDomain = device.openXrcd();
  const b = side(device, {});
  const srq = b.pd.createSrq({ xrcDomain, cq: b.cq });
  const target = xrcDomain.createQp();
  const a = side(device, {});
  const qp = a.pd.createQp({ type: 'XRC_SEND', sendCq: a.cq });
  qp.connect(target.endpoint());
  target.connect(qp.endpoint());
  a.bytes[0] = 42;
  srq.postRecv({ id: 3, sge: b.region.slice(0, 8) });
  qp.postSend({
    opcode: 'send',
    sge: a.region.slice(0, 8),
    remoteSrqn: srq.srqNum,
    signaled: true,
  });
  (await next(a)).check();
  t.equal((await next(b)).check().id, 3);
  t.equal(b.bytes[0], 42);
});

t.test('a datagram can be answered by the header that it brought', async (t) => {
  const { a, b } = pair(t, { type: 'UD' });
  b.qp.postRecv({ sge: b.region.slice() });
  a.qp.postRecv({ sge: a.region.slice(1024) });
  a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 8), ...datagram(a, b) });
  const received = (await next(b)).check();
  const address = b.pd.createAhFromCompletion(received, b.bytes.slice(0, GRH_BYTES));
  b.bytes[100] = 77;
  b.qp.postSend({
    opcode: 'send',
    sge: b.region.slice(100, 1),
    address,
    remoteQpn: received.srcQp,
    remoteQkey: a.qp.endpoint().qkey,
  });
  (await next(a)).check();
  t.equal(a.bytes[1024 + GRH_BYTES], 77);
});

t.test(
  'a member of a multicast group gets what is sent to it, and no more after it left',
  async (t) => {
    const { a, b } = pair(t, { type: 'UD' });
    const gid = 'ff12:0000:0000:0000:0000:0000:0000:beef';
    b.qp.attachMcast(gid, 0xc001);
    const address = a.pd.createAh({ dgid: gid, dlid: 0xc001 });
    const send = (): void =>
      a.qp.postSend({
        opcode: 'send',
        sge: a.region.slice(0, 8),
        address,
        remoteQpn: 0xffffff,
        remoteQkey: b.qp.endpoint().qkey,
        signaled: true,
      });
    b.qp.postRecv([
      { id: 1, sge: b.region.slice() },
      { id: 2, sge: b.region.slice() },
    ]);
    send();
    (await next(a)).check();
    t.equal((await next(b)).check().id, 1);
    b.qp.detachMcast(gid, 0xc001);
    send();
    (await next(a)).check();
    t.same(b.cq.poll(), []);
  },
);

for (const type of [1, 2] as const) {
  t.test(`a type ${type} window opens a part of a region until it is invalidated`, async (t) => {
    const { a, b } = pair(t);
    const window = b.pd.allocMw(type);
    const binding = { region: b.region, offset: 64, length: 8, access: ['remote-write'] } as const;
    if (type === 1) b.qp.bindWindow(window, binding, { signaled: true });
    else b.qp.postSend({ opcode: 'bind-mw', window, bind: binding, signaled: true });
    (await next(b)).check();
    a.bytes[0] = 9;
    const write = (offset: number): SendWorkRequest => ({
      opcode: 'rdma-write',
      sge: a.region.slice(0, 8),
      remote: { address: b.region.address + BigInt(offset), rkey: window.rkey },
      signaled: true,
    });
    a.qp.postSend(write(64));
    (await next(a)).check();
    t.equal(b.bytes[64], 9);
    a.qp.postSend(write(72));
    t.equal((await next(a)).status, 'REM_ACCESS_ERR');
    b.region.close();
    t.ok(window.closed, 'the region closes its window first');
  });
}

t.test('a resized queue holds more, and completions of extended ones have a time', async (t) => {
  const { a, b } = pair(t, { extended: true });
  b.cq.resize(1000);
  t.ok(b.cq.capacity >= 1000);
  a.qp.postSend({
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: b.region.remote(),
    signaled: true,
  });
  t.ok((await next(a)).check().timestamp > 0n);
});

t.test('a region can move to other memory and lose a right in one step', async (t) => {
  const { a, b } = pair(t);
  const other = new Uint8Array(4096);
  b.region.reregister({ memory: other, access: ALL_ACCESS });
  a.bytes[0] = 3;
  const write = (): void =>
    a.qp.postSend({
      opcode: 'rdma-write',
      sge: a.region.slice(0, 8),
      remote: b.region.remote(),
      signaled: true,
    });
  write();
  (await next(a)).check();
  t.equal(other[0], 3);
  b.region.reregister({ access: ['local-write'] });
  write();
  t.equal((await next(a)).status, 'REM_ACCESS_ERR');
});
