/** Rings: work requests and completions that nothing is allocated for. */
import t from 'tap';

import { SIGNALED } from 'viaduct/verbs';

import { next, pair } from './pair.js';

t.test('rings post and poll in batches', (t) => {
  const { a, b } = pair(t);
  const requests = a.qp.sendRing(32);
  const completions = a.cq.ring(32);
  for (let i = 0; i < 32; i++) {
    a.bytes[i] = i + 1;
    const { address, rkey } = b.region.remote(64 + i);
    const low = Number(address & 0xffffffffn);
    const high = Number(address >> 32n);
    requests.rdmaWrite(i, 2 ** 40 + i, a.region, i, 1, low, high, rkey, SIGNALED);
  }
  a.qp.post(requests, 0, 32);
  for (let done = 0; done < 32;) {
    const count = a.cq.nextIntoSync(completions, { timeoutMs: 10_000 });
    for (let i = 0; i < count; i++, done++) {
      t.equal(completions.id(i), 2 ** 40 + done);
      t.equal(completions.status(i), 0);
    }
  }
  t.same(b.bytes.slice(64, 96), a.bytes.slice(0, 32));
  t.end();
});

t.test('receives are posted from rings, and a posted slot may be written again', async (t) => {
  const { a, b } = pair(t);
  const receives = b.qp.receiveRing(2);
  const sends = a.qp.sendRing(1);
  for (let round = 0; round < 3; round++) {
    receives.receive(0, round, b.region, 64 * round, 64);
    b.qp.postReceives(receives, 0, 1);
    a.bytes.fill(round + 1, 0, 64);
    sends.send(0, 10 + round, a.region, 0, 64, SIGNALED);
    a.qp.post(sends, 0, 1);
    t.equal((await next(a)).check().id, 10 + round);
    t.equal((await next(b)).check().id, round);
    t.equal(b.bytes[64 * round], round + 1);
  }
});

t.test('what a ring has no room for is refused', (t) => {
  const { a, b } = pair(t, { maxInlineBytes: 16 });
  const sends = a.qp.sendRing(4);
  const receives = b.qp.receiveRing(4);
  const code = 'ERR_VERBS_ARGUMENT';
  t.throws(() => sends.send(4, 1, a.region, 0, 8, 0), { code, message: /no slot 4/ });
  t.throws(() => sends.send(0, 1, a.region, 4090, 8, 0), { code, message: /do not lie in/ });
  t.throws(() => sends.send(0, 2 ** 53, a.region, 0, 8, 0), { code, message: /id is a whole/ });
  sends.send(0, 1, a.region, 0, 8, 0);
  for (let i = 1; i < sends.maxSge; i++) sends.addEntry(0, a.region, 0, 8);
  t.throws(() => sends.addEntry(0, a.region, 0, 8), { code, message: /at most \d+ pieces/ });
  const tooMuch = new Uint8Array(sends.maxInlineBytes + 1);
  t.throws(() => sends.setInline(0, tooMuch), { code, message: /larger maxInlineBytes/ });
  t.throws(() => receives.receive(-1, 1, b.region, 0, 8), { code });
  t.throws(() => a.qp.sendRing(0), { code, message: /1 to 1048575 slots/ });
  t.end();
});

t.test('slots that a ring has not, and rings of another kind, are not posted', (t) => {
  const { a, b } = pair(t);
  const sends = a.qp.sendRing(4);
  const receives = b.qp.receiveRing(4);
  const refused = { code: 'ERR_VERBS_POST', message: /ERANGE/ };
  t.throws(() => a.qp.post(sends, 3, 2), refused);
  t.throws(() => a.qp.post(sends, -1, 1), refused);
  t.throws(() => b.qp.postReceives(receives, 0, 5), refused);
  t.throws(() => a.qp.post(receives as unknown as typeof sends, 0, 1), refused);
  t.same(a.cq.poll(), []);
  t.end();
});
