/** The registration cache, over the device: what JavaScript does with memory between one transfer and the next. */
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';

import t, { type Test } from 'tap';

import {
  accessNumber,
  type MemorySlice,
  type ProtectionDomain,
  type Registrable,
  type RegistrationCache,
  type RegistrationCacheOptions,
  type RemoteMemory,
  type VerbsError,
} from 'viaduct/verbs';

import { deviceName, next, open, pair, type Side } from './pair.js';
import { run } from './run.js';

const LOCAL = accessNumber(['local-write']);
const PAGE = 4096;

function domainWithCache(
  t: Test,
  options: RegistrationCacheOptions = {},
): { pd: ProtectionDomain; cache: RegistrationCache } {
  const pd = open(t).allocPd();
  return { pd, cache: pd.createRegistrationCache(options) };
}

/** Used for a moment. */
function touch(cache: RegistrationCache, memory: Registrable, access?: 'remote-read'): void {
  cache.get(memory, access === undefined ? ['local-write'] : [access]).release();
}

/** Writes `sge` there by RDMA; the completion's status. */
async function write(from: Side, sge: MemorySlice, remote: RemoteMemory): Promise<string> {
  from.qp.postSend({ opcode: 'rdma-write', sge, remote, signaled: true });
  return (await next(from)).status;
}

t.test('memory that was registered once is transferred again without registering', async (t) => {
  const { a, b } = pair(t);
  const cache = a.pd.createRegistrationCache();
  const mine = new Uint8Array(3 * PAGE);
  for (let i = 1; i <= 3; i++) {
    mine.fill(i);
    using source = cache.get(mine);
    t.equal(await write(a, source.slice(100, 8), b.region.remote()), 'SUCCESS');
    t.equal(b.bytes[0], i);
  }
  t.match(cache.stats(), { misses: 1, hits: 2, entries: 1, entriesInUse: 0 });
});

t.test('a view gets the address of its own first byte', async (t) => {
  const { a, b } = pair(t);
  const cache = a.pd.createRegistrationCache();
  const all = new Uint8Array(8 * PAGE);
  const part = all.subarray(5 * PAGE + 10, 5 * PAGE + 50).fill(9);
  using whole = cache.get(all);
  using source = cache.get(part);
  t.equal(source.address - whole.address, BigInt(part.byteOffset));
  t.equal(source.region, whole.region);
  t.equal(source.byteLength, 40);
  t.equal(await write(a, source.slice(), b.region.remote()), 'SUCCESS');
  t.same(b.bytes.slice(0, 41), [...part, 0]);
  t.throws(() => source.slice(0, 41), { code: 'ERR_VERBS_ARGUMENT' });
});

t.test('users share one region, and each releases it once', (t) => {
  const { cache } = domainWithCache(t);
  const memory = new Uint8Array(64);
  const region = cache.acquire(memory, LOCAL);
  t.equal(cache.acquire(memory, LOCAL), region);
  t.equal(cache.acquire(new DataView(memory.buffer, 8, 8), LOCAL), region);
  t.equal(region.offsetOf(memory.subarray(8)), 8);
  region.release();
  region.release();
  t.equal(cache.stats().entriesInUse, 1);
  region.release();
  t.throws(() => region.release(), { code: 'ERR_VERBS_ARGUMENT', message: /as often/ });
  t.end();
});

t.test('a registration is released once, however often it is told to', (t) => {
  const { cache } = domainWithCache(t);
  const memory = new Uint8Array(64);
  using other = cache.get(memory);
  const registration = cache.get(memory);
  registration.release();
  registration.release();
  t.equal(cache.stats().entriesInUse, 1);
  t.equal(other.byteLength, 64);
  t.end();
});

t.test('ranges that overlap or touch become one registration', (t) => {
  const { cache } = domainWithCache(t);
  const memory = new Uint8Array(64 * PAGE);
  touch(cache, memory.subarray(0, 3 * PAGE));
  touch(cache, memory.subarray(2 * PAGE, 4 * PAGE));
  touch(cache, memory.subarray(0, 4 * PAGE));
  t.match(cache.stats(), { entries: 1, merges: 1, misses: 2, hits: 1 });
  t.end();
});

t.test('without remote access the pages of a Buffer in the pool serve its neighbours too', (t) => {
  const { cache } = domainWithCache(t);
  const [one, two] = [Buffer.from('one'), Buffer.from('two')];
  t.equal(one.buffer, two.buffer, 'both are in the pool');
  touch(cache, one);
  touch(cache, two);
  t.match(cache.stats(), { hits: 1, entries: 1 });
  t.end();
});

t.test('a key for a peer opens no neighbour of a Buffer in the pool', async (t) => {
  const { a, b } = pair(t);
  const cache = b.pd.createRegistrationCache();
  const neighbour = Buffer.from('neighbour');
  const small = Buffer.from('secret');
  t.equal(neighbour.buffer, small.buffer, 'both are in the pool');
  using beside = cache.get(neighbour, ['remote-read']);
  using exposed = cache.get(small, ['remote-read']);
  const read = async (offset: number, length: number): Promise<string> => {
    const sge = a.region.slice(0, length);
    a.qp.postSend({ opcode: 'rdma-read', sge, remote: exposed.remote(offset), signaled: true });
    return (await next(a)).status;
  };
  t.not(beside.region, exposed.region);
  t.equal(await read(0, 6), 'SUCCESS');
  t.equal(Buffer.from(a.bytes.buffer, 0, 6).toString(), 'secret');
  t.equal(await read(5, 2), 'REM_ACCESS_ERR');
});

t.test('a key for a peer opens no more of a cached region than was asked for', (t) => {
  const { cache } = domainWithCache(t);
  const memory = new Uint8Array(4 * PAGE);
  using all = cache.get(memory, ['remote-read']);
  using part = cache.get(memory.subarray(100, 150), ['remote-read']);
  t.not(part.rkey, all.rkey);
  t.equal(part.region.byteLength, 50);
  using same = cache.get(memory.subarray(100, 150), ['remote-read']);
  t.equal(same.rkey, part.rkey);
  t.equal(cache.stats().hits, 1);
  t.end();
});

t.test('for peers that are trusted, registrations are merged as local ones', (t) => {
  const { cache } = domainWithCache(t, { trustPeers: true });
  const memory = new Uint8Array(4 * PAGE);
  using all = cache.get(memory, ['remote-read']);
  using part = cache.get(memory.subarray(100, 150), ['remote-read']);
  t.equal(part.rkey, all.rkey);
  t.end();
});

t.test('the least recently used is let go when there are too many', (t) => {
  const { cache } = domainWithCache(t, { maxEntries: 2 });
  const [one, two, three] = [new Uint8Array(64), new Uint8Array(64), new Uint8Array(64)];
  touch(cache, one);
  touch(cache, two);
  touch(cache, one);
  touch(cache, three);
  t.match(cache.stats(), { evictions: 1, entries: 2, maxEntries: 2 });
  touch(cache, one);
  t.equal(cache.stats().hits, 2, 'it was used later than the other');
  t.end();
});

t.test('bytes are limited in pages, and what is in use is kept beyond the limit', (t) => {
  const { cache } = domainWithCache(t, { maxBytes: 2 * PAGE });
  // Each a buffer of its own: small ones may share a page.
  const uses = [1, 2, 3].map(() => cache.get(new Uint8Array(16 * PAGE)));
  t.equal(cache.stats().entriesInUse, 3);
  t.ok(cache.stats().bytesInUse >= 48 * PAGE);
  for (const each of uses) each.release();
  t.match(cache.stats(), { entries: 0, bytes: 0, evictions: 3 });
  t.end();
});

t.test('the limits come from what the system lets be pinned', (t) => {
  const { cache } = domainWithCache(t);
  const { maxEntries, maxBytes } = cache.stats();
  t.ok(maxEntries > 0 && maxEntries < 1e6);
  t.ok(maxBytes > 0 && maxBytes < 2 ** 50);
  t.throws(() => cache.pd.createRegistrationCache({ maxBytes: -1 }), {
    code: 'ERR_VERBS_ARGUMENT',
    message: /maxBytes/,
  });
  t.end();
});

t.test('memory that can not stay is refused', (t) => {
  const { cache } = domainWithCache(t);
  const gone = new Uint8Array(8);
  structuredClone(gone, { transfer: [gone.buffer] });
  const resizable = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]) as ArrayBuffer;
  t.throws(() => cache.get(gone), { code: 'ERR_VERBS_MEMORY', message: /cache\.get.*detached/ });
  t.throws(() => cache.get(resizable), { code: 'ERR_VERBS_MEMORY', message: /shrink/ });
  t.throws(() => cache.get(new Uint8Array(0)), { code: 'ERR_VERBS_MEMORY', message: /empty/ });
  t.throws(() => cache.get(new Uint8Array(8), ['mw-bind']), { code: 'ERR_VERBS_ARGUMENT' });
  t.throws(() => cache.get(new Uint8Array(8), ['remote-write']), { code: 'ERR_VERBS_ARGUMENT' });
  t.throws(() => cache.acquire('text' as never, LOCAL));
  t.equal(cache.stats().entries, 0);
  t.end();
});

t.test('memory that was transferred is found no more, and what is in use is refused', async (t) => {
  const { a, b } = pair(t);
  const cache = a.pd.createRegistrationCache();
  const memory = new Uint8Array(2 * PAGE).fill(1);
  const used = cache.get(memory);
  const moved = structuredClone(memory, { transfer: [memory.buffer] });
  t.throws(() => a.qp.postSend({ opcode: 'send', sge: used.slice() }), {
    code: 'ERR_VERBS_MEMORY',
    message: /transferred or detached/,
  });
  t.throws(() => cache.get(memory), { code: 'ERR_VERBS_MEMORY' });
  using again = cache.get(moved);
  t.not(again.region, used.region);
  t.match(cache.stats(), { invalidations: 1, entries: 2 });
  t.equal(await write(a, again.slice(0, 8), b.region.remote()), 'SUCCESS');
  used.release();
  t.equal(cache.stats().entries, 1);
});

t.test('memory of WebAssembly that has grown is registered anew', (t) => {
  const { cache } = domainWithCache(t);
  const { WebAssembly: api } = globalThis as unknown as {
    WebAssembly: { Memory: new (limits: object) => { buffer: ArrayBuffer; grow(n: number): void } };
  };
  const memory = new api.Memory({ initial: 1, maximum: 4 });
  touch(cache, memory.buffer);
  memory.grow(1);
  using grown = cache.get(memory.buffer);
  t.equal(grown.byteLength, 2 * 65536);
  t.ok(grown.region.byteLength >= grown.byteLength);
  t.match(cache.stats(), { invalidations: 1, entries: 1 });
  t.end();
});

t.test('shared memory that has grown is registered where it grew', (t) => {
  const { cache } = domainWithCache(t);
  const growable = Reflect.construct(SharedArrayBuffer, [
    PAGE,
    { maxByteLength: 4 * PAGE },
  ]) as SharedArrayBuffer & { grow(bytes: number): void };
  touch(cache, growable);
  growable.grow(4 * PAGE);
  using grown = cache.get(growable);
  t.equal(grown.region.byteLength, 4 * PAGE);
  t.match(cache.stats(), { entries: 1, misses: 2 });
  t.end();
});

t.test('objects for the same shared memory find the same registration', (t) => {
  const { cache } = domainWithCache(t);
  const shared = new SharedArrayBuffer(PAGE);
  using one = cache.get(shared);
  using other = cache.get(structuredClone(shared));
  t.equal(other.region, one.region);
  t.end();
});

t.test('threads with caches of their own share memory', async (t) => {
  const shared = new SharedArrayBuffer(64 * PAGE);
  const program = `(async () => {
    const { openDevice } = await import('viaduct/verbs');
    const { parentPort, workerData: { shared, deviceName } } = await import('node:worker_threads');
    const device = openDevice(deviceName);
    const cache = device.allocPd().createRegistrationCache({ maxEntries: 8 });
    let seed = 1;
    const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
    for (let i = 0; i < 3000; i++) {
      const offset = random(shared.byteLength - 1);
      const view = new Uint8Array(shared, offset, 1 + random(shared.byteLength - offset));
      cache.get(view, random(2) === 0 ? ['local-write'] : ['remote-read']).release();
    }
    parentPort.postMessage(cache.stats());
  })()`;
  const ends = [1, 2].map(async () => {
    const worker = new Worker(program, { eval: true, workerData: { shared, deviceName } });
    const stats = await new Promise((resolve, reject) => {
      worker.once('message', resolve).once('error', reject);
    });
    await worker.terminate();
    return stats;
  });
  for (const stats of await Promise.all(ends)) {
    t.match(stats, { entriesInUse: 0, bytesInUse: 0 });
  }
});

t.test('at the limit idle registrations make room, and without any it is an error', (t) => {
  const { pd, cache } = domainWithCache(t);
  const memory = new Uint8Array(64);
  // The device's keys are a limit that needs no right to reach; RLIMIT_MEMLOCK answers the same.
  const idle = new Uint8Array(64);
  touch(cache, idle);
  const regions = [];
  for (;;) {
    try {
      regions.push(pd.registerMemory(memory));
    } catch (error) {
      t.match(error, { errno: 12 });
      break;
    }
  }
  const last = cache.get(new Uint8Array(64));
  t.match(cache.stats(), { evictions: 1, entries: 1 });
  let failure: VerbsError | undefined;
  try {
    cache.get(memory);
  } catch (error) {
    failure = error as VerbsError;
  }
  t.match(failure, {
    code: 'ERR_VERBS_SYSTEM',
    errno: 12,
    verb: 'ibv_reg_mr',
    message: /nothing idle is left .* 1 registrations of \d+ bytes are in use; .*RLIMIT_MEMLOCK/,
    operands: { bytes: 64, entriesInUse: 1 },
  });
  last.release();
  touch(cache, idle);
  t.equal(cache.stats().entries, 1);
  pd.close();
  t.ok(regions.every((region) => region.closed));
  t.end();
});

t.test('the error at the limit says what limit of memory locked there is', (t) => {
  const program = `import { openDevice } from 'viaduct/verbs';
    const pd = openDevice('${deviceName}').allocPd();
    const cache = pd.createRegistrationCache();
    console.log(cache.stats().maxBytes);
    const memory = new Uint8Array(64);
    try { for (;;) pd.registerMemory(memory); } catch {}
    try { cache.get(memory); } catch (error) { console.log(error.message); }
    process.exit();`;
  // Root has CAP_IPC_LOCK, which no limit binds.
  const unprivileged =
    process.getuid?.() === 0
      ? ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock', process.execPath]
      : [process.execPath];
  const limited = spawnSync(
    'prlimit',
    ['--memlock=65536', ...unprivileged, '--input-type=module', '--eval', program],
    { encoding: 'utf8', timeout: 60_000 },
  );
  t.match(
    limited.stdout,
    /^32768\n.*raise RLIMIT_MEMLOCK, which is 65536 bytes: `ulimit -l`/,
    limited.stderr,
  );
  t.end();
});

t.test('closing the cache ends what is in use of it, and its domain closes it', (t) => {
  const { pd, cache } = domainWithCache(t);
  const used = cache.get(new Uint8Array(64));
  cache.close();
  used.release();
  t.throws(() => cache.get(new Uint8Array(64)), {
    code: 'ERR_CLOSED',
    message: /registration cache/,
  });
  t.throws(() => cache.stats(), { code: 'ERR_CLOSED' });
  const another = pd.createRegistrationCache();
  another.get(new Uint8Array(64));
  pd.close();
  t.ok(another.closed);
  t.end();
});

const CACHE = `
  import { openDevice } from 'viaduct/verbs';
  const device = openDevice('${deviceName}');
  const pd = device.allocPd();
  const cache = pd.createRegistrationCache();
  const settled = async (done) => {
    for (let i = 0; i < 200 && !done(); i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
`;

t.test('an ArrayBuffer that nobody else has is collected, and its registrations go', (t) => {
  const { status, text } = run(
    `${CACHE}
    (() => {
      for (let i = 0; i < 20; i++) cache.get(new Uint8Array(1 << 20)).release();
      cache.get(new SharedArrayBuffer(1 << 20)).release();
    })();
    const before = process.memoryUsage().arrayBuffers;
    await settled(() => cache.stats().entries === 0);
    const { entries, bytes, invalidations } = cache.stats();
    console.log(entries, bytes, invalidations, before - process.memoryUsage().arrayBuffers >= 20 << 20);`,
    ['--expose-gc'],
  );
  t.equal(text, '0 0 21 true\n');
  t.equal(status, 0);
  t.end();
});

t.test('collected memory makes room in a program that never comes to its event loop', (t) => {
  const { status, text } = run(
    `${CACHE}
    const use = () => cache.get(new Uint8Array(1 << 20)).release();
    for (let i = 0; i < 10; i++) use();
    gc();
    use();
    console.log(cache.stats().entries < 10, cache.stats().invalidations > 0, cache.stats().evictions);`,
    ['--expose-gc'],
  );
  t.equal(text, 'true true 0\n');
  t.equal(status, 0);
  t.end();
});

t.test('what is in use keeps its memory, also when nobody else has it', (t) => {
  const { status, text } = run(
    `${CACHE}
    const cq = device.createCq(16);
    const qp = pd.createQp({ type: 'RC', sendCq: cq });
    qp.connect(qp.endpoint());
    const target = new Uint8Array(8);
    const remote = cache.get(target, ['local-write', 'remote-write']).remote();
    const source = (() => cache.get(new Uint8Array(8).fill(5)))();
    let turns = 0;
    await settled(() => ++turns > 5);
    qp.postSend({ opcode: 'rdma-write', sge: source.slice(), remote, signaled: true });
    (await cq.next({ timeoutMs: 5000 })).check();
    console.log(target[7], cache.stats().entriesInUse);
    process.exit();`,
    ['--expose-gc'],
  );
  t.equal(text, '5 2\n');
  t.equal(status, 0);
  t.end();
});

t.test('a process may exit, and a thread end, with registrations in use and idle', (t) => {
  const { status, text } = run(
    `${CACHE}
    import { Worker } from 'node:worker_threads';
    const program = ${JSON.stringify(`(async () => {
      const { openDevice } = await import('viaduct/verbs');
      const { parentPort } = await import('node:worker_threads');
      const cache = openDevice('${deviceName}').allocPd().createRegistrationCache();
      const kept = [];
      for (let i = 0; ; i++) {
        const use = cache.get(new Uint8Array(65536));
        if (i < 10) kept.push(use);
        else use.release();
        if (i === 100) parentPort.postMessage('ready');
      }
    })()`)};
    const worker = new Worker(program, { eval: true });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await worker.terminate();
    cache.get(new Uint8Array(64));
    cache.get(new Uint8Array(64)).release();
    console.log('ended');`,
  );
  t.equal(text, 'ended\n');
  t.equal(status, 0);
  t.end();
});

t.test('programs that are started leave registrations as they are', async (t) => {
  const { a, b } = pair(t);
  const cache = a.pd.createRegistrationCache();
  const memory = new Uint8Array(PAGE);
  using source = cache.get(memory);
  t.equal(spawnSync('true').status, 0);
  memory.fill(3);
  t.equal(await write(a, source.slice(0, 8), b.region.remote()), 'SUCCESS');
  t.equal(b.bytes[7], 3);
});
