/**
 * Random sends, receives, probes and cancels among all ranks, then a check of what met what: MPI 4.1, section 3.5, as
 * rules on the whole history, which hold whatever the order in which messages of different senders came.
 *
 * Usage: random-matching.js SEED STEPS
 */
import { setImmediate } from 'node:timers/promises';

import {
  ANY_SOURCE,
  ANY_TAG,
  type Communicator,
  init,
  type Request,
} from '../../../lib/mpi/index.js';
import { randomFromSeed } from '../../seeded-random.js';
import { check, codeOf, fill, range } from '../scenarios/scenario.js';

const HEAD_WORDS = 3;
const SIZES = [12, 40, 44, 500, 5000, 16384, 16388, 20_000, 70_000];
const TAGS = 3;

/** A receive, or what stood for one, in the order in which they were posted. */
interface Receive {
  readonly position: number;
  readonly communicator: number;
  readonly source: number;
  readonly tag: number;
  readonly bytes: Uint8Array;
  readonly request: Request;
}

/** A message that was received. */
interface Met {
  readonly receive: Receive;
  readonly source: number;
  readonly tag: number;
  /** How many messages its sender had sent to this rank in this communicator before. */
  readonly number: number;
}

const [seed, steps] = process.argv.slice(2).map(Number);
const job = await init();
const { world } = job;
const { rank, size } = world;
const random = randomFromSeed(seed + rank * 7919);
const control = world.dupSync();
const communicators: Communicator[] = [
  world,
  world.dupSync(),
  world.splitSync({ color: 0, key: -rank }),
];

const numbers = communicators.map(() => new Array<number>(size).fill(0));
const sends: { request: Request; destination: number }[] = [];
const pending = new Set<Receive>();
const met: Met[] = [];
let position = 0;

function send(): void {
  const at = random.below(communicators.length);
  const comm = communicators[at];
  const destination = random.below(size);
  const tag = random.below(TAGS);
  const number = numbers[at][destination]++;
  const bytes = fill(new Uint8Array(random.pick(SIZES)), number);
  new Int32Array(bytes.buffer, 0, HEAD_WORDS).set([comm.rank, number, tag]);
  const request =
    random.below(3) === 0
      ? comm.issend(bytes, destination, tag)
      : comm.isend(bytes, destination, tag);
  sends.push({ request, destination: comm.group.translate([destination], world.group)[0] });
}

function receive(
  source: number,
  tag: number,
  communicator: number,
  begin?: (bytes: Uint8Array) => Request,
): void {
  const bytes = new Uint8Array(Math.max(...SIZES));
  const request = begin?.(bytes) ?? communicators[communicator].irecv(bytes, source, tag);
  pending.add({
    position: position++,
    communicator,
    source,
    tag,
    bytes,
    request,
  });
}

const anySource = (): number => (random.below(3) === 0 ? ANY_SOURCE : random.below(size));
const anyTag = (): number => (random.below(3) === 0 ? ANY_TAG : random.below(TAGS));

function probe(): void {
  const at = random.below(communicators.length);
  const comm = communicators[at];
  const source = anySource();
  const tag = anyTag();
  if (random.below(2) === 0) {
    const message = comm.improbe(source, tag);
    if (message !== undefined) receive(source, tag, at, (bytes) => message.irecv(bytes));
    return;
  }
  const status = comm.iprobe(source, tag);
  if (status === undefined) return;
  // Posted receives that are older would have met it already: it is for this one, and just fits.
  receive(status.source, status.tag, at, (bytes) =>
    comm.irecv(bytes.subarray(0, status.byteLength), status.source, status.tag),
  );
}

function cancel(): void {
  const receives = [...pending];
  if (receives.length > 0 && random.below(2) === 0) {
    const victim = random.pick(receives);
    if (victim.request.cancel()) pending.delete(victim);
  } else if (sends.length > 0) {
    random.pick(sends).request.cancel();
  }
}

/** Takes note of receives that are done. */
function collect(): void {
  for (const done of pending) {
    if (!done.request.test()) continue;
    pending.delete(done);
    const { source, tag, byteLength } = done.request.status;
    const bytes = done.bytes.subarray(0, byteLength);
    const [from, number, sentTag] = new Int32Array(bytes.buffer, 0, HEAD_WORDS);
    check(
      from === source && sentTag === tag,
      `a message of ${from}, ${sentTag} as ${source}, ${tag}`,
    );
    check(meets(done, source, tag), 'a receive of another envelope');
    const expected = fill(new Uint8Array(byteLength), number);
    expected.set(bytes.subarray(0, HEAD_WORDS * 4));
    check(Buffer.compare(bytes, expected) === 0, `message ${number} of ${source} is damaged`);
    met.push({ receive: done, source, tag, number });
  }
}

const meets = (receive: Receive, source: number, tag: number): boolean =>
  (receive.source === ANY_SOURCE || receive.source === source) &&
  (receive.tag === ANY_TAG || receive.tag === tag);

for (let step = 0; step < steps; step++) {
  const action = random.below(20);
  if (action < 8) send();
  else if (action < 15) receive(anySource(), anyTag(), random.below(communicators.length));
  else if (action < 18) probe();
  else if (action < 19) cancel();
  else await setImmediate();
  collect();
}

// How many messages each rank has for this one, which is known when all that were to be cancelled are.
const announced = new Int32Array(size);
const counts = range(size).map((other) =>
  control.irecv(announced.subarray(other, other + 1), other, 1),
);
const settled = (async () => {
  const sent = new Int32Array(size);
  for (const { request, destination } of sends) {
    const code = await codeOf(() => request.promise());
    check(code === undefined || code === 'ERR_MPI_CANCELLED', `a send failed: ${code ?? ''}`);
    if (code === undefined) sent[destination]++;
  }
  for (const other of range(size)) await control.send(sent.subarray(other, other + 1), other, 1);
})();
let isSettled = false;
void settled.then(() => {
  isSettled = true;
});

const isComplete = (): boolean =>
  isSettled &&
  counts.every((request) => request.done) &&
  met.length === announced.reduce((sum, count) => sum + count, 0);
while (!isComplete()) {
  collect();
  for (const [at, comm] of communicators.entries()) {
    const message = comm.improbe();
    if (message !== undefined) {
      receive(ANY_SOURCE, ANY_TAG, at, (bytes) => message.irecv(bytes));
    }
  }
  await setImmediate();
}
await settled;

const left = [...pending];
for (const { request } of left) check(request.cancel(), 'a receive that is left can be cancelled');

// Messages of one sender, in the order in which they were sent: who could have met an earlier one was posted later than
// the receive that did.
for (const [at] of communicators.entries()) {
  for (const source of range(size)) {
    const inOrder = met
      .filter((one) => one.receive.communicator === at && one.source === source)
      .sort((a, b) => a.number - b.number);
    for (const [index, later] of inOrder.entries()) {
      for (const earlier of inOrder.slice(0, index)) {
        check(earlier.number !== later.number, `message ${later.number} of ${source} came twice`);
        check(
          !meets(later.receive, source, earlier.tag) ||
            earlier.receive.position < later.receive.position,
          `message ${later.number} of rank ${source} met receive ${later.receive.position}, past message ` +
            `${earlier.number}, which met receive ${earlier.receive.position}`,
        );
      }
      for (const never of left) {
        check(
          never.communicator !== at ||
            never.position > later.receive.position ||
            !meets(never, source, later.tag),
          `message ${later.number} of rank ${source} passed receive ${never.position} by`,
        );
      }
    }
  }
}
await job.finalize();
