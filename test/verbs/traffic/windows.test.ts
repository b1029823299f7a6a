/** Memory windows of both types: bound, used, ended, and refused. */
import type { CompletionStatus } from 'viaduct/verbs';

import { type Feature, FEATURES, overRoutes } from './routes.js';
import type { Binding, Send } from './side.js';

const TYPE_2: readonly Feature[] = ['windows', 'type 2 windows', 'memory management extensions'];
const PIECE = { offset: 0, length: 8 };

for (const type of [1, 2] as const) {
  const needs: readonly Feature[] = type === 1 ? ['windows'] : TYPE_2;
  overRoutes(
    `a type ${type} window opens just its part of a region`,
    { needs: [...needs, 'check of the bounds of windows'] },
    async (t, { a, b }) => {
      const { window } = await b.addWindow(type);
      const bind: Binding = { window, offset: 64, length: 8, access: ['remote-write'] };
      if (type === 1) await b.bindWindow(bind);
      else await b.send({ opcode: 'bind-mw', bind, signaled: true });
      t.match(await b.next(), { status: 'SUCCESS', opcode: 'bind-mw' });
      const { address } = await b.memory();
      const rkey = await b.windowKey(window);
      const write = (offset: number): Send => ({
        id: offset,
        opcode: 'rdma-write',
        sge: PIECE,
        remote: { address: address + BigInt(offset), rkey },
        signaled: true,
      });
      await a.fill(0, new Uint8Array(8).fill(9));
      await a.send(write(64));
      t.match(await a.next(), { id: 64, status: 'SUCCESS' });
      t.same(await b.read(64, 8), new Uint8Array(8).fill(9));
      await a.send(write(72));
      t.match(await a.next(), { id: 72, status: 'REM_ACCESS_ERR' });
      t.same(await b.read(72, 8), new Uint8Array(8));
    },
  );

  overRoutes(
    `a type ${type} window gives no right that it was not bound with`,
    { needs },
    async (t, { a, b }) => {
      const { window } = await b.addWindow(type);
      const bind: Binding = { window, offset: 0, length: 64, access: ['remote-write'] };
      if (type === 1) await b.bindWindow(bind);
      else await b.send({ opcode: 'bind-mw', bind, signaled: true });
      t.match(await b.next(), { status: 'SUCCESS' });
      const { address } = await b.memory();
      const rkey = await b.windowKey(window);
      await a.send({ id: 1, opcode: 'rdma-read', sge: PIECE, remote: { address, rkey } });
      t.match(await a.next(), { id: 1, status: 'REM_ACCESS_ERR' });
    },
  );
}

overRoutes(
  'a window that was invalidated here is closed, and can be bound anew',
  { needs: [...TYPE_2, 'local-invalidate by ibv_post_send'] },
  async (t, pair) => {
    const { a, b } = pair;
    const { window } = await b.addWindow(2);
    const bind: Binding = { window, offset: 0, length: 64, access: ['remote-write'] };
    await b.send({ opcode: 'bind-mw', bind, signaled: true });
    t.match(await b.next(), { status: 'SUCCESS' });
    const first = await b.windowKey(window);
    await b.send({ opcode: 'local-invalidate', invalidateRkey: first, signaled: true });
    t.match(await b.next(), { status: 'SUCCESS', opcode: 'local-invalidate' });
    await b.send({ opcode: 'bind-mw', bind, signaled: true });
    t.match(await b.next(), { status: 'SUCCESS' });
    const second = await b.windowKey(window);
    t.not(second, first, 'under another key');
    const { address } = await b.memory();
    const write = (rkey: number): Send => ({
      opcode: 'rdma-write',
      sge: PIECE,
      remote: { address, rkey },
      signaled: true,
    });
    await a.send({ ...write(second), id: 1 });
    t.match(await a.next(), { id: 1, status: 'SUCCESS' });
    await a.send({ ...write(first), id: 2 });
    t.match(await a.next(), { id: 2, status: 'REM_ACCESS_ERR' }, 'the old key is none');
  },
);

overRoutes(
  'a window that the peer invalidated is closed to it',
  { needs: TYPE_2 },
  async (t, { a, b }) => {
    const { window } = await b.addWindow(2);
    const bind: Binding = { window, offset: 0, length: 64, access: ['remote-write'] };
    await b.send({ opcode: 'bind-mw', bind, signaled: true });
    t.match(await b.next(), { status: 'SUCCESS' });
    const rkey = await b.windowKey(window);
    await b.receive({ id: 1, sge: { offset: 512, length: 64 } });
    await a.send({
      opcode: 'send-with-invalidate',
      sge: PIECE,
      invalidateRkey: rkey,
      signaled: true,
    });
    t.match(await a.next(), { status: 'SUCCESS' });
    const received = await b.next();
    t.match(received, { id: 1, status: 'SUCCESS' });
    if (FEATURES['invalidated keys in completions']) t.equal(received.invalidatedRkey, rkey);
    const { address } = await b.memory();
    await a.send({ id: 2, opcode: 'rdma-write', sge: PIECE, remote: { address, rkey } });
    t.match(await a.next(), { id: 2, status: 'REM_ACCESS_ERR' });
  },
);

interface Refusal {
  readonly what: string;
  readonly bind: Partial<Binding>;
  readonly region?: boolean;
}

const REFUSED: readonly Refusal[] = [
  { what: 'of a region without mw-bind', bind: {}, region: true },
  { what: 'of no bytes', bind: { length: 0 } },
];

for (const { what, bind, region = false } of REFUSED) {
  overRoutes(
    `binding a type 2 window ${what} ends with MW_BIND_ERR`,
    { needs: TYPE_2 },
    async (t, { b }) => {
      const other = region
        ? await b.addRegion({ sizeBytes: 64, access: ['local-write', 'remote-write'] })
        : await b.memory();
      const { window } = await b.addWindow(2);
      const whole = { window, region: other.region, offset: 0, length: 64 };
      await b.send({
        id: 1,
        opcode: 'bind-mw',
        bind: { ...whole, access: ['remote-write'], ...bind },
      });
      t.match(await b.next(), { id: 1, status: 'MW_BIND_ERR' as CompletionStatus });
      t.equal(await b.state(), 'ERR');
    },
  );
}

overRoutes(
  'a bound window can not be bound again before it was invalidated',
  { needs: TYPE_2 },
  async (t, { b }) => {
    const { window } = await b.addWindow(2);
    const bind: Binding = { window, offset: 0, length: 64, access: ['remote-write'] };
    await b.send({ id: 1, opcode: 'bind-mw', bind, signaled: true });
    t.match(await b.next(), { id: 1, status: 'SUCCESS' });
    await b.send({ id: 2, opcode: 'bind-mw', bind });
    t.match(await b.next(), { id: 2, status: 'MW_BIND_ERR' });
  },
);

overRoutes(
  'invalidating a garbage key ends with an error',
  { needs: TYPE_2 },
  async (t, { a, b }) => {
    await b.send({ id: 1, opcode: 'local-invalidate', invalidateRkey: 0x5a5a5a });
    t.match(await b.next(), { id: 1, status: /^(MW_BIND_ERR|LOC_QP_OP_ERR)$/ });
    t.equal(await b.state(), 'ERR');
    t.equal(await a.state(), 'RTS');
  },
);

overRoutes(
  'a peer that invalidates a garbage key fails',
  { needs: [...TYPE_2, 'answer to who invalidates a garbage key'] },
  async (t, { a, b }) => {
    await b.receive({ id: 1, sge: { offset: 0, length: 64 } });
    await a.send({ id: 2, opcode: 'send-with-invalidate', sge: PIECE, invalidateRkey: 0x5a5a5a });
    t.match(await a.next(), { id: 2, status: 'REM_ACCESS_ERR' });
    t.match(await b.next(), { id: 1, status: 'WR_FLUSH_ERR' });
  },
);
