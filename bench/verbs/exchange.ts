/**
 * One end of a connection between two programs, in JavaScript: the counterpart of exchange.c, request by request the
 * same, with the same arguments and lines.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { openDevice, SIGNALED } from '../../lib/verbs/index.js';

const WINDOW = 16;
const POLLED = 32;
const RECEIVE = 1;

const [role, what, size, iterationCount, sampleCount, deviceName] = process.argv.slice(2);
const isFirst = role === 'first';
const isLatency = what === 'latency';
const sizeBytes = Number(size);
const iterations = Number(iterationCount);
const samples = Number(sampleCount);

const device = openDevice(deviceName);
const pd = device.allocPd();
const cq = device.createCq(256, { channel: 'none' });
const qp = pd.createQp({ type: 'RC', sendCq: cq, maxSendWr: 128, maxRecvWr: 16 });
const region = pd.registerMemory(new Uint8Array(2 * sizeBytes), ['local-write', 'remote-write']);
const requests = qp.sendRing(2);
const receives = qp.receiveRing(1);
const completions = cq.ring(POLLED);
let sent = 0;
let received = 0;

const lines = createInterface({ input: process.stdin });
const input = lines[Symbol.asyncIterator]();

async function nextLine(): Promise<string> {
  const { done, value } = (await input.next()) as IteratorResult<string, undefined>;
  if (done === true) throw new Error('the input ended');
  return value;
}

/** As exchange.c writes it, whose packets are counted from 0. */
async function meet(): Promise<void> {
  const { qpn, lid, gid, mtu, type } = qp.endpoint({ psn: 0 });
  const { address, rkey } = region.remote();
  console.log([qpn, lid, (gid ?? '').replaceAll(':', ''), address, rkey].join(' '));
  const [theirQpn, theirLid, theirGid = '', theirAddress = '', theirRkey] = (
    await nextLine()
  ).split(' ');
  qp.connect(
    {
      ...{ type, mtu, psn: 0, qkey: 0, qpn: Number(theirQpn), lid: Number(theirLid) },
      gid: theirGid.replaceAll(/(.{4})(?!$)/g, '$1:'),
    },
    { maxRdAtomic: 1, maxDestRdAtomic: 1 },
  );
  const target = BigInt(theirAddress) + BigInt(sizeBytes);
  const low = Number(target & 0xffff_ffffn);
  requests.send(0, 0, region, 0, sizeBytes, SIGNALED);
  requests.rdmaWrite(
    1,
    0,
    region,
    0,
    sizeBytes,
    low,
    Number(target >> 32n),
    Number(theirRkey),
    SIGNALED,
  );
  receives.receive(0, RECEIVE, region, sizeBytes, sizeBytes);
}

/** Counts what has completed. Returns how many receives. */
function take(): number {
  const before = received;
  const count = cq.pollInto(completions, POLLED);
  for (let i = 0; i < count; i++) {
    if (completions.status(i) !== 0) throw new Error(`status ${completions.status(i)}`);
    if (completions.id(i) === RECEIVE) received += 1;
    else sent += 1;
  }
  return received - before;
}

/** Answers each message, the last of the first one's excepted. */
function pingPong(count: number): void {
  const until = received + count;
  if (isFirst) qp.post(requests, 0, 1);
  while (received < until) {
    for (let fresh = take(); fresh > 0; fresh--) {
      qp.postReceives(receives, 0, 1);
      if (!isFirst || received < until) qp.post(requests, 0, 1);
    }
  }
}

function writeAll(count: number): void {
  const until = sent + count;
  for (let posted = sent; sent < until; take()) {
    for (; posted < until && posted < sent + WINDOW; posted++) qp.post(requests, 1, 1);
  }
}

function sample(): number {
  const started = performance.now();
  if (isLatency) {
    pingPong(iterations);
    return ((performance.now() - started) * 1e3) / 2 / iterations;
  }
  writeAll(iterations);
  return (sizeBytes * iterations) / 1e3 / (performance.now() - started);
}

await meet();
for (let i = 0; i < 4; i++) qp.postReceives(receives, 0, 1);
console.log('ready');
await nextLine();
if (isFirst) {
  sample(); // warms up
  for (let i = 0; i < samples; i++) console.log(sample().toFixed(3));
} else {
  const ended = once(lines, 'close');
  if (isLatency) pingPong(iterations * (samples + 1));
  await ended;
}
lines.close();
device.close();
