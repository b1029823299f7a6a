/**
 * What a transfer costs by how its memory comes to be registered: a write to this process's own queue pair, over the
 * software HCA. Runs on the host and in machines; a line of JSON for each size and round: `{sizeBytes, ways}`, in µs.
 * Usage: node transfers.js ROUNDS SIZE...
 */
import { accessNumber, openDevice, SIGNALED } from '../../lib/verbs/index.js';

/** Emulated clocks step by milliseconds. */
const SAMPLE_MS = 100;
/** Buffers in turn, of which the cache keeps half: each is gone from it when its turn comes. */
const TURNS = 4;
const LOCAL = accessNumber(['local-write']);

const [rounds = 1, ...sizes] = process.argv.slice(2).map(Number);
const largest = Math.max(...sizes);

const device = openDevice('softhca0', { provider: 'softhca' });
const pd = device.allocPd();
const cq = device.createCq(16, { channel: 'none' });
const qp = pd.createQp({ type: 'RC', sendCq: cq, maxSendWr: 4, maxRecvWr: 1 });
qp.connect(qp.endpoint());
const target = pd.registerMemory(new Uint8Array(largest), ['local-write', 'remote-write']);
const buffers = Array.from({ length: TURNS }, () => new Uint8Array(largest).fill(1));
const requests = qp.sendRing(1);
const completions = cq.ring(1);

type Named = Parameters<typeof requests.rdmaWrite>[2];

function transfer(region: Named, offset: number, sizeBytes: number): void {
  const { addressLow, addressHigh, rkey } = target;
  requests.rdmaWrite(0, 0, region, offset, sizeBytes, addressLow, addressHigh, rkey, SIGNALED);
  qp.post(requests, 0, 1);
  while (cq.pollInto(completions, 1) === 0);
  if (completions.status(0) !== 0) throw new Error(`status ${completions.status(0)}`);
}

const first = buffers[0] ?? new Uint8Array();
const registered = pd.registerMemory(first);
const keeping = pd.createRegistrationCache();
const evicting = pd.createRegistrationCache({ maxEntries: TURNS / 2 });

function cached(cache: typeof keeping, view: Uint8Array): void {
  const region = cache.acquire(view, LOCAL);
  transfer(region, region.offsetOf(view), view.length);
  region.release();
}

let turns = 0;

/** Each does one transfer. */
const WAYS: Readonly<Record<string, (views: readonly Uint8Array[]) => void>> = {
  registered: ([view = first]) => transfer(registered, 0, view.length),
  cached: ([view = first]) => cached(keeping, view),
  uncached: ([view = first]) => {
    const region = pd.registerMemory(view);
    transfer(region, 0, view.length);
    region.close();
  },
  fresh: (views) => cached(evicting, views[turns++ % TURNS] ?? first),
};

/** µs each. */
function sample(way: () => void): number {
  for (let i = 0; i < 2 * TURNS; i++) way();
  let batch = 1;
  for (;;) {
    const started = performance.now();
    for (let i = 0; i < batch; i++) way();
    const elapsed = performance.now() - started;
    if (elapsed >= SAMPLE_MS) return (elapsed * 1e3) / batch;
    batch = elapsed < 1 ? batch * 8 : Math.ceil((batch * SAMPLE_MS * 1.2) / elapsed);
  }
}

for (let round = 0; round < rounds; round++) {
  for (const sizeBytes of sizes) {
    const views = buffers.map((each) => each.subarray(0, sizeBytes));
    const order = Object.entries(WAYS);
    if (round % 2 === 1) order.reverse();
    const ways = order.map(([name, way]) => [name, sample(() => way(views))]);
    console.log(JSON.stringify({ sizeBytes, round, ways: Object.fromEntries(ways) as object }));
  }
}
const { hits } = evicting.stats();
if (hits > 0) throw new Error(`${hits} buffers were found that were to be gone`);
device.close();
