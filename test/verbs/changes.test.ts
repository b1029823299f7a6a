/** Objects that change while they are in use: queues that grow, regions that move, receives that are shared. */
import t from 'tap';

import { openDevice, UnsupportedError } from 'viaduct/verbs';

import { ALL_ACCESS, deviceName, next, open, pair, side, write } from './pair.js';

t.test('a resized completion queue keeps what it holds, and holds more', async (t) => {
  const { a, b } = pair(t);
  write(a, b);
  write(a, b);
  a.cq.resize(1000);
  t.ok(a.cq.capacity >= 1000);
  write(a, b);
  for (let i = 0; i < 3; i++) (await next(a)).check();
});

/** Why regions can not change on this device; false where they can. */
function reregisterLacking(): string | false {
  using device = openDevice(deviceName);
  const region = device.allocPd().registerMemory(new Uint8Array(8));
  try {
    region.reregister({ access: ['local-write'] });
    return false;
  } catch (error) {
    if (error instanceof UnsupportedError) return `${deviceName} has no ibv_rereg_mr`;
    throw error;
  }
}

const skip = reregisterLacking();

t.test('a region can move to other memory and lose a right in one step', { skip }, async (t) => {
  const { a, b } = pair(t);
  const other = new Uint8Array(4096);
  b.region.reregister({ memory: other, access: ALL_ACCESS });
  a.bytes[0] = 3;
  write(a, b);
  (await next(a)).check();
  t.equal(other[0], 3);
  t.equal(b.bytes[0], 0, 'the memory before is left alone');
  b.region.reregister({ access: ['local-write'] });
  write(a, b);
  t.equal((await next(a)).status, 'REM_ACCESS_ERR');
});

t.test('a region can move to another domain, out of reach of the first', { skip }, async (t) => {
  const { device, a, b } = pair(t);
  const elsewhere = device.allocPd();
  b.region.reregister({ pd: elsewhere });
  t.equal(b.region.pd, elsewhere);
  write(a, b);
  t.equal((await next(a)).status, 'REM_ACCESS_ERR');
  elsewhere.close();
  t.ok(b.region.closed, 'its new domain closes it');
});

t.test('a shared receive queue serves several queue pairs in the order of arrival', async (t) => {
  const device = open(t);
  const b = side(device, {});
  const srq = b.pd.createSrq({ maxWr: 8 });
  const senders = [side(device, {}), side(device, {}), side(device, {})];
  for (const a of senders) {
    const qp = b.pd.createQp({ type: 'RC', sendCq: b.cq, srq });
    a.qp.connect(qp.endpoint());
    qp.connect(a.qp.endpoint());
  }
  for (let id = 0; id < 3; id++) srq.postRecv({ id, sge: b.region.slice(id * 8, 8) });
  for (const [i, a] of senders.entries()) {
    a.bytes[0] = 10 + i;
    a.qp.postSend({ opcode: 'send', sge: a.region.slice(0, 8), signaled: true });
    (await next(a)).check();
    t.equal((await next(b)).check().id, i);
  }
  t.same([b.bytes[0], b.bytes[8], b.bytes[16]], [10, 11, 12]);
});
