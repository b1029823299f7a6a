/** What only some devices have: on-demand paging, resizing, atomic writes; and what is said where one has it not. */
import t from 'tap';

import { openDevice, UnsupportedError } from 'viaduct/verbs';

import { ALL_ACCESS, deviceName, next, open, pair } from './pair.js';

const device = openDevice(deviceName);
const { odpGeneralCaps, capabilities } = device.query();
device.close();

const pages = {
  skip: odpGeneralCaps === 0n ? 'the device has no on-demand paging' : false,
} as const;
const resizes = {
  skip: capabilities.includes('srq-resize') ? false : 'the device resizes no shared receive queues',
} as const;
const software = {
  skip: deviceName === 'softhca0' ? false : 'only of the software HCA it is known',
} as const;

t.test(
  'a region that pages on demand is read, written and sent from as any other',
  pages,
  async (t) => {
    const { a, b } = pair(t);
    const source = a.pd.registerMemory(new Uint8Array(8192).fill(3), [...ALL_ACCESS, 'on-demand']);
    const bytes = new Uint8Array(8192);
    const target = b.pd.registerMemory(bytes, [...ALL_ACCESS, 'on-demand']);
    a.qp.postSend({
      opcode: 'rdma-write',
      sge: source.slice(0, 4096),
      remote: target.remote(100),
      signaled: true,
    });
    (await next(a)).check();
    t.equal(bytes[99], 0);
    t.ok(bytes.subarray(100, 4196).every((byte) => byte === 3));
    b.qp.postRecv({ sge: target.slice(4196, 16) });
    a.qp.postSend({ opcode: 'send', sge: source.slice(0, 16), signaled: true });
    (await next(a)).check();
    (await next(b)).check();
    t.ok(bytes.subarray(4196, 4212).every((byte) => byte === 3));
  },
);

t.test('advice is taken for regions that page on demand, and refused for others', pages, (t) => {
  const pd = open(t).allocPd();
  const onDemand = pd.registerMemory(new Uint8Array(1 << 16), ['local-write', 'on-demand']);
  const readOnly = pd.registerMemory(new Uint8Array(64), ['on-demand']);
  const pinned = pd.registerMemory(new Uint8Array(64));
  for (const advice of ['prefetch', 'prefetch-write', 'prefetch-no-fault'] as const) {
    pd.adviseMemory(advice, [onDemand.slice(), onDemand.slice(4096, 100)], { wait: true });
    pd.adviseMemory(advice, [onDemand.slice()]);
  }
  t.throws(() => pd.adviseMemory('prefetch', [pinned.slice()]), {
    code: 'ERR_VERBS_MEMORY',
    message: /registered with 'on-demand'/,
  });
  t.throws(() => pd.adviseMemory('prefetch-write', [readOnly.slice()]), {
    code: 'ERR_VERBS_ARGUMENT',
    message: /registered with 'local-write'/,
  });
  t.end();
});

t.test('a shared receive queue is resized with receives in it', resizes, (t) => {
  const pd = open(t).allocPd();
  const srq = pd.createSrq({ maxWr: 16 });
  const sge = pd.registerMemory(new Uint8Array(64)).slice();
  for (let id = 0; id < 16; id++) srq.postRecv({ id, sge });
  srq.resize(200);
  t.ok(srq.query().maxWr >= 200);
  for (let id = 16; id < 200; id++) srq.postRecv({ id, sge });
  t.throws(() => srq.resize(64), { code: 'ERR_VERBS_ARGUMENT' }, '200 are posted');
  t.end();
});

t.test('an atomic write stores eight bytes', software, async (t) => {
  const { a, b } = pair(t);
  a.bytes.fill(9, 0, 8);
  const request = { opcode: 'atomic-write', remote: b.region.remote(16), signaled: true } as const;
  a.qp.postSend({ ...request, sge: a.region.slice(0, 8) });
  const completion = await next(a);
  completion.check();
  t.equal(completion.opcode, 'atomic-write');
  t.same(b.bytes.slice(15, 25), [0, 9, 9, 9, 9, 9, 9, 9, 9, 0]);
  a.qp.postSend({ ...request, sge: a.region.slice(0, 16) });
  t.equal((await next(a)).status, 'LOC_LEN_ERR');
  t.throws(() => a.pd.createQp({ type: 'RC', sendCq: a.cq, sendOps: ['atomic-write'] }), {
    code: 'ERR_VERBS_ARGUMENT',
    message: /leave sendOps out/,
  });
});

t.test('what the software HCA has not is said to be unsupported', software, (t) => {
  const { a } = pair(t);
  t.throws(() => a.cq.moderate(16, 100), UnsupportedError);
  t.throws(() => a.qp.queryEce(), UnsupportedError);
  t.throws(() => a.qp.setEce({ vendorId: 0, options: 0, compMask: 0 }), UnsupportedError);
  t.throws(() => a.pd.registerDmabuf(0, 0n, 4096n, 0n), UnsupportedError);
  t.end();
});
