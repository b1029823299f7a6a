/**
 * Agreements among ranks that die at any moment, also between two of their messages, in any order in which messages and the
 * news of deaths may arrive. Thousands of schedules, each from a seed.
 */
import t from 'tap';

import { Agreement, type Value } from '../../../lib/mpi/survival/agreement.js';
import { randomFromSeed, seededRandom, type SeededRandom } from '../../seeded-random.js';

class Death extends Error {}

interface Rank {
  agreement: Agreement | undefined;
  isDead: boolean;
  decided: Value | undefined;
  /** Messages that it sends before it dies, if it doesn't before that; Infinity for one that lives. */
  sends: number;
  readonly flags: number;
}

type Event = { readonly from: number; readonly words: Int32Array | 'death' };

/** Runs one schedule; returns what the ranks came to. */
function simulate(random: SeededRandom): Rank[] {
  const size = 2 + random.below(7);
  const deaths = random.below(size);
  const ranks: Rank[] = Array.from({ length: size }, () => ({
    agreement: undefined,
    isDead: false,
    decided: undefined,
    sends: Infinity,
    flags: random.below(2 ** 31),
  }));
  for (let k = 0; k < deaths; k++) ranks[random.below(size)].sends = random.below(3 * size);
  // Messages of each pair, in order; at their end, of which some may be lost, the news of the sender's death.
  const queues = new Map<string, { to: number; events: Event[] }>();
  const queue = (from: number, to: number): Event[] => {
    const key = `${from} ${to}`;
    const found = queues.get(key) ?? { to, events: [] };
    queues.set(key, found);
    return found.events;
  };
  const act = (self: number, action: () => void): void => {
    try {
      action();
    } catch (error) {
      if (!(error instanceof Death)) throw error;
      ranks[self].isDead = true;
      for (let to = 0; to < size; to++) {
        if (to === self) continue;
        const events = queue(self, to);
        if (random.below(2) === 0) events.length = random.below(events.length + 1);
        events.push({ from: self, words: 'death' });
      }
    }
  };
  const begin = (self: number): void => {
    const rank = ranks[self];
    rank.agreement = new Agreement({
      members: size,
      self,
      contribution: {
        flags: rank.flags,
        context: self,
        dead: new Set(knownDead[self]),
        acknowledged: new Set(),
      },
      send: (to, words) => {
        if (rank.sends-- <= 0) throw new Death();
        queue(self, to).push({ from: self, words });
      },
      onDecision: (value) => (rank.decided = value),
    });
    for (const event of early[self]) if (!rank.isDead) hear(self, event);
  };
  const knownDead = ranks.map(() => new Set<number>());
  const early: Event[][] = ranks.map(() => []);
  const hear = (self: number, { from, words }: Event): void => {
    const { agreement } = ranks[self];
    if (words === 'death') knownDead[self].add(from);
    // Before it has begun, messages wait, and deaths are known at once.
    if (agreement === undefined) {
      if (words !== 'death') early[self].push({ from, words });
    } else if (words === 'death') {
      agreement.died(from);
    } else {
      agreement.receive(from, words);
    }
  };
  const waiting = new Set(ranks.keys());
  for (;;) {
    const choices: (() => void)[] = [];
    for (const self of waiting) {
      choices.push(() => {
        waiting.delete(self);
        act(self, () => begin(self));
      });
    }
    for (const [self, { isDead, sends }] of ranks.entries()) {
      if (isDead || sends === Infinity || waiting.has(self) || random.below(8) > 0) continue;
      choices.push(() =>
        act(self, () => {
          throw new Death();
        }),
      );
    }
    for (const { to, events } of queues.values()) {
      if (events.length === 0) continue;
      if (ranks[to].isDead) events.length = 0;
      else choices.push(() => act(to, () => hear(to, events.shift()!)));
    }
    if (choices.length === 0) return ranks;
    random.pick(choices)();
  }
}

const spell = (value: Value): string =>
  JSON.stringify(value, (_, part: unknown) => (part instanceof Set ? [...part].sort() : part));

t.test('all who decide decide alike, and all who live do', (t) => {
  const { seed } = seededRandom(t);
  const runs = 20_000;
  let died = 0;
  for (let run = 0; run < runs; run++) {
    const ranks = simulate(randomFromSeed(seed + run));
    const decisions = new Set(ranks.flatMap(({ decided }) => decided ?? []).map(spell));
    const undecided = ranks.filter(({ decided, isDead }) => !isDead && decided === undefined);
    died += ranks.filter(({ isDead }) => isDead).length;
    const [decided] = ranks.flatMap((rank) => rank.decided ?? []);
    // Also those that died after they had decided.
    const lives = [...ranks.keys()].filter((rank) => !ranks[rank].isDead);
    const flags = [...(decided?.contributors ?? [])].reduce((all, k) => all & ranks[k].flags, -1);
    if (
      decisions.size > 1 ||
      undecided.length > 0 ||
      (decided !== undefined &&
        (lives.some((rank) => !decided.contributors.has(rank) || decided.dead.has(rank)) ||
          decided.flags !== flags))
    ) {
      t.fail(`SEED=${seed + run}: ${[...decisions].join(' ')}, ${undecided.length} undecided`);
      break;
    }
  }
  t.ok(died > runs / 2, `${died} deaths in ${runs} agreements`);
  t.end();
});

t.test(
  'without deaths all contributions count, and nothing waits for more than three hops',
  (t) => {
    const size = 5;
    const decided: Value[] = [];
    let messages: { from: number; to: number; words: Int32Array }[] = [];
    const ranks = Array.from(
      { length: size },
      (_, self) =>
        new Agreement({
          members: size,
          self,
          contribution: {
            flags: ~(1 << self),
            context: 100 + self,
            dead: new Set(),
            acknowledged: new Set(),
          },
          send: (to, words) => messages.push({ from: self, to, words }),
          onDecision: (value) => decided.push(value),
        }),
    );
    for (let hop = 0; hop < 4 && decided.length < size; hop++) {
      const now = messages;
      messages = [];
      for (const { from, to, words } of now) ranks[to].receive(from, words);
    }
    t.equal(decided.length, size);
    for (const value of decided) {
      t.equal(value.flags, -1 << size);
      t.equal(value.context, 100);
      t.strictSame([...value.contributors], [0, 1, 2, 3, 4]);
    }
    t.end();
  },
);

t.test('sets of more members than a word has bits survive their way', (t) => {
  const decided: Value[] = [];
  const dead = new Set(Array.from({ length: 70 }, (_, k) => k).filter((k) => k !== 3 && k !== 69));
  const pair = new Map<number, Agreement>();
  const queued: [number, number, Int32Array][] = [];
  for (const self of [3, 69]) {
    pair.set(
      self,
      new Agreement({
        members: 70,
        self,
        contribution: {
          flags: -1,
          context: self,
          dead,
          acknowledged: new Set([0, 31, 32, 63, 64]),
        },
        send: (to, words) => queued.push([self, to, words]),
        onDecision: (value) => decided.push(value),
      }),
    );
  }
  for (const [from, to, words] of queued) pair.get(to)?.receive(from, words);
  t.equal(decided.length, 2);
  for (const value of decided) {
    t.strictSame([...value.contributors].sort(), [3, 69]);
    t.strictSame([...value.acknowledged], [0, 31, 32, 63, 64]);
    t.equal(value.dead.size, 68);
  }
  t.end();
});
