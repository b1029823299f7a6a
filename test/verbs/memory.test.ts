/** Memory: what JavaScript does with it while the device knows it. */
import { readdirSync } from 'node:fs';

import t from 'tap';

import { next, open, pair } from './pair.js';
import { run } from './run.js';

/** What sending it to another thread does to it here. */
function giveAway(view: Uint8Array): void {
  structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
}

t.test('memory that was transferred since is refused when posted', (t) => {
  const { a, b } = pair(t);
  const request = {
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: b.region.remote(),
  } as const;
  giveAway(a.bytes);
  t.throws(() => a.qp.postSend(request), {
    code: 'ERR_VERBS_MEMORY',
    message: /transferred or detached/,
  });
  b.qp.postRecv({ sge: b.region.slice() });
  giveAway(b.bytes);
  t.throws(() => b.qp.postRecv({ sge: b.region.slice() }), { code: 'ERR_VERBS_MEMORY' });
  a.region.close();
  t.end();
});

t.test('a detached view is not registered, and neither is one that can shrink', (t) => {
  const pd = open(t).allocPd();
  const gone = new Uint8Array(8);
  giveAway(gone);
  t.throws(() => pd.registerMemory(gone), { code: 'ERR_VERBS_MEMORY', message: /detached/ });
  const resizable = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]) as ArrayBuffer;
  t.throws(() => pd.registerMemory(resizable), { code: 'ERR_VERBS_MEMORY', message: /shrink/ });
  t.end();
});

t.test('what a peer writes follows memory to where it was transferred', async (t) => {
  const { a, b } = pair(t);
  const moved = structuredClone(b.bytes, { transfer: [b.bytes.buffer as ArrayBuffer] });
  t.equal(b.bytes.length, 0);
  a.bytes.fill(5, 0, 8);
  a.qp.postSend({
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: b.region.remote(),
    signaled: true,
  });
  (await next(a)).check();
  t.same(moved.slice(0, 8), a.bytes.slice(0, 8), 'the region holds the memory, not the view');
  b.region.close();
  t.equal(moved[0], 5, 'and its new owner keeps it');
});

interface GrowingMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** The types of Node.js know no WebAssembly. */
function webAssemblyMemory(limits: { initial: number; maximum: number }): GrowingMemory {
  const { WebAssembly: api } = globalThis as unknown as {
    WebAssembly: { Memory: new (limits: object) => GrowingMemory };
  };
  return new api.Memory(limits);
}

t.test('memory of WebAssembly that has grown is refused, and a peer harms nothing', async (t) => {
  const { a, b } = pair(t);
  const memory = webAssemblyMemory({ initial: 1, maximum: 4 });
  const region = b.pd.registerMemory(memory.buffer, ['local-write', 'remote-write']);
  const write = (): void =>
    a.qp.postSend({
      opcode: 'rdma-write',
      sge: a.region.slice(0, 8),
      remote: region.remote(65528),
      signaled: true,
    });
  a.bytes.fill(6, 0, 8);
  write();
  (await next(a)).check();
  t.equal(new Uint8Array(memory.buffer)[65535], 6);
  memory.grow(1);
  t.throws(() => b.qp.postRecv({ sge: region.slice() }), { code: 'ERR_VERBS_MEMORY' });
  write();
  (await next(a)).check();
  region.close();
  t.equal(new Uint8Array(memory.buffer)[65535], 6);
});

t.test('memory that threads share may grow while it is registered', async (t) => {
  const { a, b } = pair(t);
  const growable = Reflect.construct(SharedArrayBuffer, [
    64,
    { maxByteLength: 1 << 20 },
  ]) as SharedArrayBuffer & { grow(bytes: number): void };
  const region = b.pd.registerMemory(growable, ['local-write', 'remote-write']);
  t.equal(region.byteLength, 64);
  growable.grow(1 << 20);
  const write = (offset: number): void =>
    a.qp.postSend({
      opcode: 'rdma-write',
      sge: a.region.slice(0, 8),
      remote: region.remote(offset),
      signaled: true,
    });
  a.bytes.fill(7, 0, 8);
  write(56);
  (await next(a)).check();
  t.equal(new Uint8Array(growable)[63], 7);
  write(64);
  t.equal((await next(a)).status, 'REM_ACCESS_ERR', 'what it grew by is not registered');
});

t.test('shared memory between threads is registered as any other', async (t) => {
  const { a, b } = pair(t);
  const shared = new Uint8Array(new SharedArrayBuffer(64)).fill(8);
  const region = a.pd.registerMemory(shared);
  a.qp.postSend({
    opcode: 'rdma-write',
    sge: region.slice(),
    remote: b.region.remote(),
    signaled: true,
  });
  (await next(a)).check();
  t.same(b.bytes.slice(0, 64), shared);
});

t.test("the neighbours of a small Buffer in Node's pool are out of the peer's reach", async (t) => {
  const { a, b } = pair(t);
  const small = Buffer.from('secret');
  t.not(small.byteLength, small.buffer.byteLength, 'it is in the pool');
  const region = b.pd.registerMemory(small, ['local-write', 'remote-read', 'remote-write']);
  const read = (offset: number, length: number): void =>
    a.qp.postSend({
      opcode: 'rdma-read',
      sge: a.region.slice(0, length),
      remote: region.remote(offset),
      signaled: true,
    });
  read(0, 6);
  (await next(a)).check();
  t.equal(Buffer.from(a.bytes.buffer, 0, 6).toString(), 'secret');
  read(5, 2);
  t.equal((await next(a)).status, 'REM_ACCESS_ERR');
});

t.test('allocated memory is zeroed and moves as any other', async (t) => {
  const { a, b } = pair(t);
  const region = b.pd.allocateMemory(5000, ['local-write', 'remote-write']);
  t.equal(region.byteLength, 5000);
  t.ok(region.view?.every((byte) => byte === 0));
  a.bytes[0] = 1;
  a.qp.postSend({
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: region.remote(4992),
    signaled: true,
  });
  (await next(a)).check();
  t.equal(region.view?.[4992], 1);
});

t.test('allocated memory costs one descriptor, however much of it there is', (t) => {
  const pd = open(t).allocPd();
  const allocate = (): void => pd.allocateMemory(1 << 16, ['local-write', 'remote-write']).close();
  allocate();
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let i = 0; i < 300; i++) allocate();
  t.equal(descriptors(), before);
  t.end();
});

const PAIR = `
  import { openDevice } from 'viaduct/verbs';
  const device = openDevice('softhca0');
  const pd = device.allocPd();
  const cq = device.createCq(256);
  const qp = pd.createQp({ type: 'RC', sendCq: cq });
  qp.connect(qp.endpoint());
`;

t.test('views may be collected while their memory is written', (t) => {
  const { status, text } = run(
    `${PAIR}
    const regions = [];
    for (let i = 0; i < 200; i++) {
      regions.push(pd.registerMemory(new Uint8Array(65536), ['local-write', 'remote-write']));
      const target = regions[Math.floor(regions.length / 2)];
      qp.postSend({ opcode: 'rdma-write', sge: regions.at(-1).slice(), remote: target.remote(), signaled: true });
      cq.nextSync({ timeoutMs: 5000 }).check();
      if (i % 20 === 0) gc();
      if (i % 3 === 0) regions.shift().close();
    }
    console.log('alive');`,
    ['--expose-gc'],
  );
  t.equal(status, 0, text);
  t.match(text, 'alive');
  t.end();
});

t.test('a process may exit with operations in flight', (t) => {
  const { status, text } = run(
    `${PAIR}
    const region = pd.registerMemory(new Uint8Array(1 << 20), ['local-write', 'remote-write']);
    for (let i = 0; i < 60; i++) qp.postSend({ opcode: 'rdma-write', sge: region.slice(), remote: region.remote() });
    cq.next().catch(() => {});
    setTimeout(() => process.exit(7), 10);`,
  );
  t.equal(status, 7, text);
  t.end();
});

t.test('a process that waits for nothing ends by itself', (t) => {
  const { status, text } = run(
    `${PAIR}
    await cq.next({ timeoutMs: 5 }).catch((error) => console.log(error.code));`,
  );
  t.equal(status, 0, text);
  t.match(text, 'ERR_VERBS_TIMEOUT');
  t.end();
});

t.test('threads use the device side by side, and one may be ended at work', (t) => {
  const { status, text } = run(
    `import { Worker } from 'node:worker_threads';
    const program = ${JSON.stringify(`(async () => {
      const { openDevice } = await import('viaduct/verbs');
      const { parentPort } = await import('node:worker_threads');
      const device = openDevice('softhca0');
      const pd = device.allocPd();
      const cq = device.createCq(64);
      const qp = pd.createQp({ type: 'RC', sendCq: cq });
      qp.connect(qp.endpoint());
      const region = pd.registerMemory(new Uint8Array(4096), ['local-write', 'remote-write']);
      for (let i = 0; ; i++) {
        qp.postSend({ opcode: 'rdma-write', sge: region.slice(0, 8), remote: region.remote(64), signaled: true });
        cq.nextSync({ timeoutMs: 5000 }).check();
        if (i === 1000) parentPort.postMessage('ready');
      }
    })()`)};
    const workers = [1, 2].map(() => new Worker(program, { eval: true }));
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))));
    await Promise.all(workers.map((worker) => worker.terminate()));
    console.log('both ended');`,
  );
  t.equal(status, 0, text);
  t.match(text, 'both ended');
  t.end();
});

t.test('threads may be ended while they register', (t) => {
  const { status, text } = run(
    `import { Worker } from 'node:worker_threads';
    const program = ${JSON.stringify(`(async () => {
      const { openDevice } = await import('viaduct/verbs');
      const { parentPort } = await import('node:worker_threads');
      const pd = openDevice('softhca0').allocPd();
      for (let i = 0; ; i++) {
        pd.registerMemory(new Uint8Array(64)).close();
        if (i === 100) parentPort.postMessage('ready');
      }
    })()`)};
    for (let round = 0; round < 15; round++) {
      const worker = new Worker(program, { eval: true });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await worker.terminate();
    }
    console.log('all ended');`,
  );
  t.equal(text, 'all ended\n');
  t.equal(status, 0);
  t.end();
});

t.test('a thread may be ended under the writes of another', (t) => {
  const { status, text } = run(
    `import { Worker } from 'node:worker_threads';
    import { openDevice } from 'viaduct/verbs';
    const program = ${JSON.stringify(`(async () => {
      const { openDevice } = await import('viaduct/verbs');
      const { parentPort } = await import('node:worker_threads');
      const pd = openDevice('softhca0').allocPd();
      const cq = pd.device.createCq(64);
      const qp = pd.createQp({ type: 'RC', sendCq: cq });
      const region = pd.registerMemory(new Uint8Array(1 << 20), ['local-write', 'remote-write']);
      parentPort.postMessage({ end: qp.endpoint(), remote: region.remote() });
      parentPort.once('message', (end) => {
        qp.connect(end);
        parentPort.postMessage('ready');
        cq.next();
      });
    })()`)};
    const pd = openDevice('softhca0').allocPd();
    const cq = pd.device.createCq(64);
    const region = pd.registerMemory(new Uint8Array(1 << 20), ['local-write']);
    for (let round = 0; round < 5; round++) {
      const qp = pd.createQp({ type: 'RC', sendCq: cq });
      const worker = new Worker(program, { eval: true });
      const said = () => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      const { end, remote } = await said();
      worker.postMessage(qp.endpoint());
      await said();
      qp.connect(end, { timeout: 8, retryCnt: 1 });
      const write = () => qp.postSend({ opcode: 'rdma-write', sge: region.slice(), remote, signaled: true });
      let ended;
      for (let writes = 0; ; writes++) {
        write();
        const completion = await cq.next({ timeoutMs: 10_000 });
        if (!completion.ok) { console.log(completion.status); break; }
        if (writes === 10) ended = worker.terminate();
        await new Promise(setImmediate);
      }
      await ended;
      qp.close();
    }
    process.exit();`,
  );
  t.equal(status, 0, text);
  t.equal(text, 'RETRY_EXC_ERR\n'.repeat(5));
  t.end();
});
