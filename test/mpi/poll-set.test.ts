/** Which peers a rank polls: a few, however many there are, and it misses none. */
import t from 'tap';

import { Inbox } from '../../lib/mpi/channels/aperture/inbox.js';
import { ACTIVE_PEERS, inboxBytes } from '../../lib/mpi/channels/aperture/layout.js';
import { type Polled, PollSet } from '../../lib/mpi/channels/aperture/poll-set.js';
import { seededRandom } from '../seeded-random.js';
import { range } from './scenarios/scenario.js';

const RANKS = 200;

/** A peer with a queue of so many messages. */
class FakePeer implements Polled {
  isStalled = false;
  wasHeard = false;
  queued = 0;
  polls = 0;
  received = 0;

  constructor(readonly rank: number) {}

  push(): boolean {
    return false;
  }

  poll(): boolean {
    this.polls++;
    if (this.queued === 0) return false;
    this.wasHeard = true;
    this.queued--;
    this.received++;
    return true;
  }
}

function makeSet() {
  const words = new Int32Array(inboxBytes(RANKS) / 4);
  const peers = range(RANKS).map((rank) => new FakePeer(rank));
  const set = new PollSet(peers, new Inbox(words, 0, RANKS));
  const told = new Inbox(words, 0, RANKS);
  const send = (rank: number): void => {
    peers[rank].queued++;
    told.tell(rank);
  };
  return { peers, set, send };
}

t.test('what a poll costs does not grow with silent peers', (t) => {
  const { peers, set, send } = makeSet();
  for (const rank of [3, 77, 199]) send(rank);
  while (set.poll());
  for (const peer of peers) peer.polls = 0;
  for (let poll = 0; poll < 1000; poll++) set.poll();
  const polls = peers.reduce((sum, peer) => sum + peer.polls, 0);
  t.ok(polls <= 1000 * ACTIVE_PEERS, 'few peers are polled', { polls });
  t.equal(peers[77].received, 1);
  t.end();
});

t.test('every message is received, whoever sends and whenever', (t) => {
  const random = seededRandom(t);
  const { peers, set, send } = makeSet();
  let sent = 0;
  for (let step = 0; step < 20_000; step++) {
    if (random.below(2) === 0) {
      send(random.below(random.pick([3, 20, RANKS])));
      sent++;
    } else {
      set.poll();
    }
  }
  while (set.poll());
  t.equal(
    peers.reduce((sum, peer) => sum + peer.received, 0),
    sent,
  );
  t.end();
});

t.test('a peer that something waits for is polled until it does not', (t) => {
  const { peers, set, send } = makeSet();
  peers[5].isStalled = true;
  set.activate(peers[5]);
  for (const rank of range(100).slice(10)) {
    send(rank);
    set.poll();
    set.poll();
  }
  peers[5].polls = 0;
  set.poll();
  t.equal(peers[5].polls, 1);
  t.end();
});
