// Two processes write a counter into each other's memory, there and back, by RDMA: no system call of the receiver moves
// the data. Waiting blocks, as latency wants it. Over hardware the two can be on two hosts; the software HCA joins processes of one.
//
//   node examples/rdma-ping-pong.js listen 7471          in one terminal
//   node examples/rdma-ping-pong.js localhost 7471       in another
import { openDevice } from 'viaduct/verbs';

import { dial, listen } from './meet.js';

const ROUNDS = 1000;
const [where = 'listen', port = '7471'] = process.argv.slice(2);

/** @param {import('./meet.js').Peer} peer @param {boolean} first */
async function pingPong(peer, first) {
  const device = openDevice();
  const pd = device.allocPd();
  const sends = device.createCq(16);
  const receives = device.createCq(16);
  const qp = pd.createQp({ type: 'RC', sendCq: sends, recvCq: receives });

  // The first counter is written from, the second is written to by the peer.
  const counters = new BigUint64Array(2);
  const mr = pd.registerMemory(counters, ['local-write', 'remote-write']);

  const theirs = await peer.exchange({ ...qp.endpoint(), ...mr.remote(8) });
  const remote = { address: BigInt(theirs.address), rkey: theirs.rkey };
  qp.connect(theirs);
  // A write with immediate data takes a receive of the other side, whose completion says that the data is there.
  qp.postRecv({ id: 0 });
  await peer.exchange('ready');

  const started = performance.now();
  for (let round = 1; round <= ROUNDS; round++) {
    if (!first) arrival(round);
    counters[0] = BigInt(round);
    qp.postSend({
      id: round,
      opcode: 'rdma-write-with-imm',
      sge: mr.slice(0, 8),
      remote,
      immediate: round,
      signaled: true,
    });
    sends.nextSync({ timeoutMs: 10_000 }).check();
    if (first) arrival(round);
  }
  const microseconds = ((performance.now() - started) / ROUNDS) * 1000;
  console.log(`${ROUNDS} round trips over ${device.name}, ${microseconds.toFixed(1)} µs each`);
  await peer.exchange('done');
  device.close();
  peer.leave();

  /** @param {number} round */
  function arrival(round) {
    receives.nextSync({ timeoutMs: 10_000 }).check();
    if (counters[1] !== BigInt(round)) throw new Error(`${counters[1]} came instead of ${round}`);
    qp.postRecv({ id: round });
  }
}

if (where === 'listen') {
  const server = await listen(Number(port), async (peer) => {
    server.close();
    await pingPong(peer, false);
  });
} else {
  await pingPong(await dial(where, Number(port)), true);
}
