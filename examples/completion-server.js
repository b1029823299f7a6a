// A server of many clients with one completion queue: `for await` takes requests and ends of answers as they come, and
// the process sleeps in between. All clients' requests arrive in one shared receive queue; the answer is the text in
// capitals.
//
//   node examples/completion-server.js listen 7472                       in one terminal
//   node examples/completion-server.js localhost 7472 hello world        in others
import { openDevice } from 'viaduct/verbs';

import { dial, listen } from './meet.js';

const SLOTS = 64;
const SLOT_BYTES = 1024;
const [where = 'listen', port = '7472', ...words] = process.argv.slice(2);

/** @param {number} port */
async function serve(port) {
  const device = openDevice();
  const pd = device.allocPd();
  const cq = device.createCq(2 * SLOTS);
  const srq = pd.createSrq({ maxWr: SLOTS });
  const memory = Buffer.alloc(SLOTS * SLOT_BYTES);
  const mr = pd.registerMemory(memory);
  /** @param {number} slot */
  const receiveInto = (slot) =>
    srq.postRecv({ id: slot, sge: mr.slice(slot * SLOT_BYTES, SLOT_BYTES) });
  for (let slot = 0; slot < SLOTS; slot++) receiveInto(slot);

  const clients = new Map();
  const server = await listen(port, async (peer) => {
    const qp = pd.createQp({ type: 'RC', sendCq: cq, srq, maxSendWr: SLOTS });
    clients.set(qp.qpNum, qp);
    void peer.gone.finally(() => {
      clients.delete(qp.qpNum);
      qp.close();
    });
    qp.connect(await peer.exchange(qp.endpoint()));
    await peer.exchange('ready');
  });
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      server.close();
      device.close(); // ends the loop below
    });
  }

  for await (const { ok, opcode, id: slot, qpNum, byteLen } of cq) {
    const client = clients.get(qpNum);
    if (ok && opcode === 'recv' && client !== undefined) {
      const start = slot * SLOT_BYTES;
      const text = memory.toString('latin1', start, start + byteLen).toUpperCase();
      memory.write(text, start, 'latin1');
      client.postSend({
        id: slot,
        opcode: 'send',
        sge: mr.slice(start, byteLen),
        signaled: true,
      });
    } else {
      // The answer is sent, or its client has gone: the slot is free again.
      receiveInto(slot);
    }
  }
  console.log('served');
}

/** @param {string} host @param {number} port @param {string[]} requests */
async function call(host, port, requests) {
  const peer = await dial(host, port);
  const device = openDevice();
  const pd = device.allocPd();
  const cq = device.createCq(16);
  const qp = pd.createQp({ type: 'RC', sendCq: cq, maxInlineBytes: 64 });
  qp.connect(await peer.exchange(qp.endpoint()));
  await peer.exchange('ready');

  const answer = Buffer.alloc(SLOT_BYTES);
  const mr = pd.registerMemory(answer);
  for (const request of requests) {
    qp.postRecv({ sge: mr.slice() });
    // Inline data is copied into the request: it needs no registration.
    qp.postSend({ opcode: 'send', inline: Buffer.from(request, 'latin1'), signaled: true });
    (await cq.next()).check();
    const { byteLen } = (await cq.next()).check();
    console.log(answer.toString('latin1', 0, byteLen));
  }
  device.close();
  peer.leave();
}

if (where === 'listen') await serve(Number(port));
else await call(where, Number(port), words);
