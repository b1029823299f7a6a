/** Failures: of completions, of state changes, of posts, and of calls. */
import t from 'tap';

import { ClosedError } from 'viaduct';
import {
  listDevices,
  openDevice,
  type SendWorkRequest,
  UnsupportedError,
  VerbsError,
} from 'viaduct/verbs';

import { ALL_ACCESS, next, open, pair, side } from './pair.js';

function codeOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof VerbsError || error instanceof ClosedError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

type Change = (request: SendWorkRequest, other: { rkey: number }) => Partial<SendWorkRequest>;

const WRONG: readonly (readonly [string, string, Change])[] = [
  [
    'a garbage key',
    'REM_ACCESS_ERR',
    ({ remote }) => ({ remote: { address: remote?.address ?? 0n, rkey: 1 } }),
  ],
  [
    'memory beyond the region',
    'REM_ACCESS_ERR',
    ({ remote }) => ({
      remote: { address: (remote?.address ?? 0n) + 4090n, rkey: remote?.rkey ?? 0 },
    }),
  ],
  [
    "another domain's key",
    'REM_ACCESS_ERR',
    ({ remote }, { rkey }) => ({ remote: { address: remote?.address ?? 0n, rkey } }),
  ],
  ['a garbage local key', 'LOC_PROT_ERR', () => ({ sge: { address: 4096n, length: 8, lkey: 1 } })],
];

for (const [what, status, change] of WRONG) {
  t.test(`a write with ${what} ends with ${status}, and what follows is flushed`, async (t) => {
    const { device, a, b } = pair(t);
    const other = device.allocPd().registerMemory(new Uint8Array(4096), ALL_ACCESS);
    const good: SendWorkRequest = {
      id: 1,
      opcode: 'rdma-write',
      sge: a.region.slice(0, 8),
      remote: b.region.remote(),
      signaled: true,
    };
    a.qp.postSend({ ...good, ...change(good, other) });
    const failed = await next(a);
    t.equal(failed.status, status);
    t.match(
      failed.error?.message,
      new RegExp(`work request 1 of queue pair ${a.qp.qpNum} ended with ${status}`),
    );
    t.throws(() => failed.check(), { code: 'ERR_VERBS_COMPLETION', id: 1, qpNum: a.qp.qpNum });
    t.equal(a.qp.query().qpState, 'ERR');
    a.qp.postSend({ ...good, id: 2 });
    t.equal((await next(a)).status, 'WR_FLUSH_ERR');
  });
}

t.test('a receive that is too small fails on both sides', async (t) => {
  const { a, b } = pair(t);
  b.qp.postRecv({ sge: b.region.slice(0, 4) });
  a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 8), signaled: true });
  t.equal((await next(b)).status, 'LOC_LEN_ERR');
  t.equal((await next(a)).status, 'REM_INV_REQ_ERR');
});

t.test('a peer without a receive exhausts the retries', async (t) => {
  const { a } = pair(t, { connect: { rnrRetry: 0 } });
  a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 8), signaled: true });
  t.equal((await next(a)).status, 'RNR_RETRY_EXC_ERR');
});

t.test('a peer that is gone exhausts the retries', async (t) => {
  const { a, b } = pair(t, { connect: { timeout: 1, retryCnt: 1 } });
  const remote = b.region.remote();
  b.qp.close();
  a.qp.postSend({ opcode: 'rdma-write', sge: a.region.slice(0, 8), remote, signaled: true });
  t.equal((await next(a)).status, 'RETRY_EXC_ERR');
});

t.test('a full send queue refuses, and says how many it took', (t) => {
  const { a, b } = pair(t);
  const request: SendWorkRequest = {
    opcode: 'rdma-write',
    sge: a.region.slice(0, 8),
    remote: b.region.remote(),
  };
  const many = Array.from({ length: a.qp.cap.maxSendWr + 1 }, () => request);
  const error = codeOf(() => a.qp.postSend(many));
  t.equal(error.code, 'ERR_VERBS_POST');
  t.match(error.message, /ENOMEM.*the queue is full/);
  t.end();
});

t.test('a post in the wrong state says which state it needs', (t) => {
  const { qp, region } = side(open(t), {});
  const error = codeOf(() => qp.postSend({ opcode: 'send', sge: region.slice() }));
  t.equal(error.code, 'ERR_VERBS_POST');
  t.match(error.message, /sends need RTS/);
  t.end();
});

t.test('a refused state change names what is missing and what does not belong', (t) => {
  const { qp } = side(open(t), {});
  t.throws(() => qp.modify({ qpState: 'INIT', portNum: 1, qkey: 5 }), {
    code: 'ERR_VERBS_MODIFY',
    operands: {
      transition: 'RESET → INIT',
      missing: ['pkeyIndex', 'qpAccessFlags'],
      notAllowed: ['qkey'],
    },
  });
  t.throws(() => qp.modify({ qpState: 'RTS' }), { message: /can not go from RESET to RTS/ });
  t.end();
});

const BAD: readonly (readonly [string, (device: ReturnType<typeof open>) => unknown, RegExp])[] = [
  ['an unknown device', () => openDevice('nosuch9'), /no device 'nosuch9'; there are: /],
  ['an empty queue', (device) => device.createCq(0), /a queue has 1 entry or more, not 0/],
  ['a queue too large', (device) => device.createCq(2 ** 30), /from 1 to maxCqe/],
  ['no such port', (device) => device.queryPort(9), /device\.queryPort \(port 9\)/],
  ['a bad GID', (device) => device.allocPd().createAh({ dgid: '::1' }), /eight groups/],
  [
    'an access that is none',
    (device) =>
      device.allocPd().registerMemory(new Uint8Array(8), ['remote-read', 'fast' as 'local-write']),
    /no access 'fast'; there are: local-write/,
  ],
  [
    'remote write without local write',
    (device) => device.allocPd().registerMemory(new Uint8Array(8), ['remote-write']),
    /need local-write too/,
  ],
  ['empty memory', (device) => device.allocPd().registerMemory(new Uint8Array(0)), /has no bytes/],
  [
    'a slice outside',
    (device) => device.allocPd().registerMemory(new Uint8Array(8)).slice(4, 8),
    /bytes 4 to 12 do not lie in this region of 8/,
  ],
];

for (const [what, run, message] of BAD) {
  t.test(`${what} gives an error that says what to do`, (t) => {
    t.match(codeOf(() => run(open(t))).message, message);
    t.end();
  });
}

t.test('what the device has not is unsupported', (t) => {
  const device = open(t);
  if (device.query().odpGeneralCaps !== 0n) {
    t.comment(`${device.name} has on-demand paging`);
  } else {
    t.throws(
      () => device.allocPd().registerMemory(new Uint8Array(8), ['local-write', 'on-demand']),
      UnsupportedError,
    );
  }
  t.end();
});

t.test('a device closes all that was made from it; use after that is refused', (t) => {
  const { device, a } = pair(t);
  const ring = a.cq.ring(4);
  device.close();
  device.close();
  for (const each of [a.pd, a.cq, a.qp, a.region, ring]) t.ok(each.closed);
  t.throws(() => a.cq.poll(), ClosedError);
  t.throws(() => a.cq.pollInto(ring), ClosedError);
  t.throws(() => a.qp.postSend({ opcode: 'send' }), ClosedError);
  t.throws(() => device.allocPd(), ClosedError);
  t.end();
});

t.test('a completion queue closes its queue pairs first', (t) => {
  const { a } = pair(t);
  a.cq.close();
  t.ok(a.qp.closed);
  t.notOk(a.region.closed);
  t.end();
});

t.test('a queue pair closes the type 2 windows that it bound, and leaves its groups', async (t) => {
  const { a } = pair(t);
  const window = a.pd.allocMw(2);
  a.qp.postSend({
    opcode: 'bind-mw',
    window,
    bind: { region: a.region, access: ['remote-read'] },
    signaled: true,
  });
  (await next(a)).check();
  a.qp.close();
  t.ok(window.closed);
  const datagrams = pair(t, { type: 'UD' }).a.qp;
  datagrams.attachMcast('ff12:0000:0000:0000:0000:0000:0000:beef', 0xc001);
  datagrams.close();
  t.ok(datagrams.closed);
});

t.test('hardware comes before the software HCA, which is always there', (t) => {
  const providers = listDevices().map((each) => each.provider);
  t.equal(providers.at(-1), 'softhca');
  t.equal(providers.lastIndexOf('system') < providers.indexOf('softhca'), true);
  t.end();
});
