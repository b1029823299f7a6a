/** The matching of messages and receives: pure, so held against a model that does nothing clever. */
import t from 'tap';

import { Incoming } from '../../lib/mpi/incoming.js';
import { ANY_SOURCE, ANY_TAG } from '../../lib/mpi/index.js';
import type { Delivery } from '../../lib/mpi/matching.js';
import { Request, type RequestOwner, type RequestScope, RECEIVE } from '../../lib/mpi/request.js';
import { seededRandom } from '../seeded-random.js';

const nobody: RequestOwner = {
  poll: () => false,
  wait: () => undefined,
  waitUntil: () => undefined,
  drive: () => undefined,
  settled: () => undefined,
  withdraw: () => true,
};
const scope: RequestScope = {
  owner: nobody,
  name: 'test',
  // Rank 9 of the world is not in it.
  isAcknowledged: () => false,
  rankOf: (worldRank) => (worldRank === 9 ? -1 : worldRank),
  raise: (error) => {
    throw error;
  },
};

interface Envelope {
  readonly context: number;
  readonly source: number;
  readonly tag: number;
}

function receive({ context, source, tag }: Envelope): Request {
  const request = new Request(scope);
  request.kind = RECEIVE;
  request.context = context;
  request.peer = source;
  request.tag = tag;
  return request;
}

const meets = (receive: Envelope, message: Envelope): boolean =>
  receive.context === message.context &&
  (receive.source === ANY_SOURCE || receive.source === message.source) &&
  (receive.tag === ANY_TAG || receive.tag === message.tag);

t.test('random receives and messages meet as the rules say', (t) => {
  const random = seededRandom(t);
  const ranks = 4;
  const incoming = new Incoming();
  // The model: two lists in the order of time, searched from the front (MPI 4.1, section 3.5).
  const posted: { envelope: Envelope; request: Request }[] = [];
  const kept: { envelope: Envelope; number: number }[] = [];
  let delivered = -1;
  const delivery: Delivery = {
    deliver: (message) => {
      delivered = message.sendId;
    },
  };
  for (let step = 1; step <= 20_000; step++) {
    const context = random.below(2);
    const action = random.below(10);
    if (action < 5) {
      const envelope = { context, source: random.below(ranks), tag: random.below(3) };
      const request = incoming.match(context, envelope.source, envelope.tag);
      const index = posted.findIndex((candidate) => meets(candidate.envelope, envelope));
      if (request !== posted[index]?.request) throw new Error(`step ${step}: another receive`);
      if (index >= 0) posted.splice(index, 1);
      else {
        kept.push({ envelope, number: step });
        incoming.keep(context, envelope.source, envelope.tag, 0, delivery, undefined, step, 0, 0);
      }
    } else if (action < 9 || posted.length === 0) {
      const source = random.below(3) === 0 ? ANY_SOURCE : random.below(ranks);
      const envelope = { context, source, tag: random.below(4) === 0 ? ANY_TAG : random.below(3) };
      const request = receive(envelope);
      delivered = -1;
      const met = incoming.meet(request);
      const index = kept.findIndex((candidate) => meets(envelope, candidate.envelope));
      if (delivered !== (kept[index]?.number ?? -1))
        throw new Error(`step ${step}: another message`);
      if (met) kept.splice(index, 1);
      else {
        posted.push({ envelope, request });
        incoming.posted.post(request);
      }
    } else {
      const [withdrawn] = posted.splice(random.below(posted.length), 1);
      incoming.posted.remove(withdrawn.request);
    }
  }
  t.pass('20000 steps');
  t.end();
});

t.test('when a rank fails, receives that name it or nobody are taken, others stay', (t) => {
  for (const count of [1, 5]) {
    const incoming = new Incoming();
    const envelopes = [1, ANY_SOURCE, 2, 1, ANY_SOURCE].slice(0, count);
    const requests = envelopes.map((source) => receive({ context: 0, source, tag: 1 }));
    for (const request of requests) incoming.posted.post(request);
    t.same(incoming.takeHopeless(9), [], 'nobody waits for a rank of another communicator');
    const taken = incoming.takeHopeless(1);
    t.same(
      new Set(taken.map(({ peer }) => peer)),
      new Set(envelopes.filter((source) => source !== 2)),
    );
    const left = incoming.match(0, 2, 1);
    t.equal(left, requests[2]);
  }
  t.end();
});
