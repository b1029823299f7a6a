/** Failures of calls, and what is closed with what. Requests that fail are in traffic/failures.test.ts. */
import t from 'tap';

import { ClosedError } from 'viaduct';
import { listDevices, openDevice, UnsupportedError, VerbsError } from 'viaduct/verbs';

import { next, open, pair, side } from './pair.js';

function codeOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof VerbsError || error instanceof ClosedError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

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

t.test('a GID that the port has not is refused, with the number of those it has', (t) => {
  const { device, a } = pair(t);
  const { gidTblLen } = device.queryPort();
  t.throws(() => a.qp.endpoint({ gidIndex: gidTblLen }), {
    code: 'ERR_VERBS_ARGUMENT',
    message: new RegExp(`no GID ${gidTblLen}.* ${gidTblLen} entries`),
  });
  t.equal(a.qp.endpoint({ gidIndex: 0 }).gid, device.queryGid(1, 0));
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
