/**
 * What posting and polling costs from JavaScript: the counterpart of loopback.c, request by request the same, with the
 * same arguments; its device is the software HCA, if none is named.
 */
import { openDevice, SIGNALED, type SendRing } from '../../lib/verbs/index.js';

const BATCH = 32;

const samples = Number(process.argv[2] ?? '5');
const rounds = Number(process.argv[3] ?? '200000');
const device = openDevice(process.argv[4] ?? 'softhca0');
const pd = device.allocPd();
const cq = device.createCq(256, { channel: 'none' });
const qp = pd.createQp({ type: 'RC', sendCq: cq, maxSendWr: 128, maxRecvWr: 1 });
qp.connect(qp.endpoint());
const region = pd.registerMemory(new Uint8Array(4096).fill(1), ['local-write', 'remote-write']);
const remote = region.addressLow + 2048;
const remoteLow = remote >>> 0;
const remoteHigh = region.addressHigh + (remote > 0xffffffff ? 1 : 0);

const requests = qp.sendRing(BATCH);
const completions = cq.ring(BATCH);

// Filling the descriptor is part of what a program pays for each request.
function write(ring: SendRing, slot: number): void {
  ring.rdmaWrite(slot, slot, region, 0, 8, remoteLow, remoteHigh, region.rkey, SIGNALED);
}

function take(wanted: number): void {
  for (let done = 0; done < wanted;) {
    const count = cq.pollInto(completions, BATCH);
    for (let i = 0; i < count; i++) {
      if (completions.status(i) !== 0) throw new Error(`status ${completions.status(i)}`);
    }
    done += count;
  }
}

function singleNs(rounds: number): number {
  const started = performance.now();
  for (let i = 0; i < rounds; i++) {
    write(requests, 0);
    qp.post(requests, 0, 1);
    take(1);
  }
  return ((performance.now() - started) * 1e6) / rounds;
}

function batchNs(rounds: number): number {
  const started = performance.now();
  for (let i = 0; i < rounds; i++) {
    for (let slot = 0; slot < BATCH; slot++) write(requests, slot);
    qp.post(requests, 0, BATCH);
    take(BATCH);
  }
  return ((performance.now() - started) * 1e6) / rounds / BATCH;
}

singleNs(Math.floor(rounds / 2));
batchNs(Math.floor(rounds / 64));
for (let i = 0; i < samples; i++) {
  const sample = { single: singleNs(rounds), batch: batchNs(Math.floor(rounds / 20)) };
  console.log(JSON.stringify(sample));
}
device.close();
