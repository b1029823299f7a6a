/** Rank 1 sends without end in sight to rank 0, which looks on for a while: rank 1 has to wait, and nothing is lost. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, ANY_TAG, init, Request } from '../../../lib/mpi/index.js';

const [how, bytes, count] = process.argv.slice(2);
const { world, waitReport, finalize } = await init();
const byteLength = Number(bytes);
const messages = Number(count);
const numbers = (number: number): Uint8Array => {
  const view = new Uint8Array(byteLength);
  new Int32Array(view.buffer, 0, 1)[0] = number;
  return view;
};

// Connected: a sender that sleeps from here on does so for lack of room.
world.barrierSync();
if (world.rank === 1) {
  const requests: Request[] = [];
  for (let k = 0; k < messages; k++) {
    if (how === 'sendSync') world.sendSync(numbers(k), 0, k % 7);
    else if (how === 'send') await world.send(numbers(k), 0, k % 7);
    else requests.push(world.isend(numbers(k), 0, k % 7));
  }
  if (how === 'isend') {
    // A message that is sent last and received first: a legal program may not hang for that.
    world.sendSync(new Uint8Array(1), 0, 99);
  }
  await Request.waitAll(requests);
}
if (world.rank === 0) {
  if (how === 'isend') {
    world.recvSync(new Uint8Array(1), 1, 99);
  } else {
    // Progress without receives: what comes is kept, until the sender sleeps and nothing comes any more.
    for (let before = -1, quiet = 0; quiet < 10;) {
      for (let k = 0; k < 200; k++) world.iprobe(1, 1000);
      await sleep(1);
      const { unexpectedMessages } = world.counters(1);
      const isAsleep = waitReport().ranks[1].operations.length > 0;
      quiet = isAsleep && unexpectedMessages === before ? quiet + 1 : 0;
      before = unexpectedMessages;
    }
  }
  const { received, unexpectedMessages } = world.counters(1);
  const keptBytes = received.inline.bytes + received.eager.bytes;
  const view = new Uint8Array(byteLength);
  const number = new Int32Array(view.buffer, 0, 1);
  const next = [0, 1, 2, 3, 4, 5, 6];
  let isInOrder = true;
  for (let k = 0; k < messages; k++) {
    const { tag } = world.recvSync(view, ANY_SOURCE, k % 2 === 0 ? k % 7 : ANY_TAG);
    isInOrder &&= number[0] === next[tag];
    next[tag] += 7;
  }
  const after = world.counters(1).received;
  const announced =
    after.fragments.messages + after['single-copy'].messages + after['rdma-read'].messages;
  console.log(JSON.stringify({ keptBytes, unexpectedMessages, isInOrder, announced }));
}
await finalize();
