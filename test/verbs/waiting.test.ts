/** Waiting for completions; warnings; explanations. */
import t from 'tap';

import { ClosedError } from 'viaduct';
import { openDevice, PITFALL } from 'viaduct/verbs';

import { deviceName, next, pair, write } from './pair.js';

t.test('a completion wakes one who sleeps on the event loop', async (t) => {
  const { a, b } = pair(t);
  const waiting = a.cq.next({ pollMs: 0, timeoutMs: 10_000 });
  setTimeout(() => write(a, b), 20);
  t.ok((await waiting).ok);
});

t.test('two who wait get one completion each', async (t) => {
  const { a, b } = pair(t);
  const both = [1, 2].map(() => a.cq.next({ pollMs: 0, timeoutMs: 10_000 }));
  write(a, b);
  await new Promise((resolve) => void setTimeout(resolve, 20));
  write(a, b);
  t.ok((await Promise.all(both)).every((each) => each.ok));
});

t.test('a wait ends by its time, by its signal, and when the queue is closed', async (t) => {
  const { a } = pair(t);
  await t.rejects(a.cq.next({ timeoutMs: 5 }), { code: 'ERR_VERBS_TIMEOUT' });
  await t.rejects(a.cq.next({ signal: AbortSignal.abort() }), { code: 'ERR_VERBS_ABORTED' });
  const aborting = new AbortController();
  const waiting = a.cq.next({ pollMs: 0, signal: aborting.signal });
  setTimeout(() => aborting.abort(), 10);
  await t.rejects(waiting, { code: 'ERR_VERBS_ABORTED' });
  const closing = a.cq.next({ pollMs: 0 });
  setTimeout(() => a.cq.close(), 10);
  await t.rejects(closing, ClosedError);
});

t.test('blocking waits for completions, or says that none came', (t) => {
  const { a, b } = pair(t);
  t.throws(() => a.cq.nextSync({ timeoutMs: 5 }), { code: 'ERR_VERBS_TIMEOUT' });
  write(a, b);
  t.ok(a.cq.nextSync({ timeoutMs: 10_000 }).ok);
  t.end();
});

t.test('an iteration over a queue yields each completion and ends when it is closed', async (t) => {
  const { a, b } = pair(t);
  for (let i = 0; i < 3; i++) write(a, b);
  let count = 0;
  for await (const completion of a.cq) {
    completion.check();
    count += 1;
    if (count === 3) setTimeout(() => a.cq.close(), 10);
  }
  t.equal(count, 3);
});

t.test('pitfalls are warned of, once each', async (t) => {
  const codes: (string | undefined)[] = [];
  const note = (warning: Error & { code?: string }): void => void codes.push(warning.code);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  const device = openDevice(deviceName, { debug: true });
  t.teardown(() => device.close());
  const pd = device.allocPd();
  const cq = device.createCq(8, {});
  const qp = pd.createQp({ type: 'RC', sendCq: cq, maxSendWr: 500, maxRecvWr: 500 });
  qp.connect(qp.endpoint());
  const region = pd.registerMemory(new Uint8Array(64), ['local-write', 'remote-write']);
  for (let i = 0; i < qp.cap.maxSendWr; i++) {
    qp.postSend({ opcode: 'rdma-write', sge: region.slice(), remote: region.remote() });
  }
  await new Promise((resolve) => void setImmediate(resolve));
  t.ok(codes.includes(PITFALL.smallCq));
  t.equal(codes.filter((code) => code === PITFALL.noReceive).length, 1);
  t.equal(codes.filter((code) => code === PITFALL.unsignaled).length, 1);
});

t.test('the software HCA explains its path', async (t) => {
  const { a, b } = pair(t);
  write(a, b);
  (await next(a)).check();
  if (a.qp.device.provider !== 'softhca') {
    t.comment(`${deviceName} is not the software HCA`);
    return;
  }
  const explained = a.qp.explain();
  t.equal(explained.path, 'loopback');
  t.equal(explained.peerPid, process.pid);
  t.equal(explained.directBytes, 8n);
});
