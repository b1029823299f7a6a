/** The place where ranks meet by TCP, and strangers who come there: they join nothing, stall nobody and break nothing. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { Hub } from '../../../lib/mpi/bootstrap/tcp/hub.js';
import { Liaison, type LiaisonEvents } from '../../../lib/mpi/bootstrap/tcp/liaison.js';
import { HubProof, RankProof } from '../../../lib/mpi/bootstrap/tcp/proof.js';

const secret = 'what the ranks share';

interface Place {
  readonly port: number;
  /** Sockets as the hub sees them, in the order of their coming. */
  readonly accepted: Socket[];
}

async function openHub(t: Test, size: number, silenceMs = 30_000, joinMs = 30_000): Promise<Place> {
  const hub = new Hub({ secret, size, joinMs, silenceMs });
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket);
    hub.accept(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    hub.close();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, accepted };
}

/** A rank whose events are kept as words. */
async function joinAs(
  t: Test,
  { port }: Place,
  rank: number,
  options: { size: number; secret?: string; silenceMs?: number },
) {
  const events: string[] = [];
  let wake = (): void => {};
  const keep = (event: string): void => {
    events.push(event);
    wake();
  };
  const handlers: LiaisonEvents = {
    onBrought: (values) => keep(`brought ${values.join(' ')}`),
    onFailed: (other, reason) => keep(`failed ${other} ${reason}`),
    onMissing: (text) => keep(`missing ${text}`),
    onLeft: () => keep('left'),
    onLost: (reason) => keep(`lost ${reason}`),
  };
  const hub = { host: '127.0.0.1', port };
  const liaison = await Liaison.join(
    { hub, secret, rank, joinMs: 10_000, silenceMs: 30_000, ...options },
    handlers,
  );
  t.teardown(() => liaison.close());
  const next = async (): Promise<string> => {
    while (events.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return events.shift() ?? '';
  };
  return { liaison, next };
}

/** A connection to the hub that says whatever it likes. */
async function stranger(t: Test, { port }: Place) {
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  socket.setEncoding('utf8').on('data', (text: string) => (heard += text));
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  while (!heard.includes('\n')) await sleep(5);
  return {
    socket,
    greeting: heard.trim(),
    /** All that it heard after the greeting, until it was shown out. */
    rest: async () => {
      await closed;
      return heard.slice(heard.indexOf('\n') + 1);
    },
  };
}

/** Ranks meet and exchange, whatever else is connected. */
async function expectMeeting(t: Test, place: Place): Promise<void> {
  const ranks = await Promise.all([0, 1].map((rank) => joinAs(t, place, rank, { size: 2 })));
  ranks.forEach(({ liaison }, rank) => liaison.bring(`value-${rank}`));
  for (const { next } of ranks) t.equal(await next(), 'brought value-0 value-1');
}

t.test('ranks get what each has brought, as often as they like, and leave', async (t) => {
  const place = await openHub(t, 3);
  const ranks = await Promise.all([2, 0, 1].map((rank) => joinAs(t, place, rank, { size: 3 })));
  for (const round of ['a', 'b']) {
    for (const { liaison } of ranks) liaison.bring(round);
    for (const { next } of ranks) t.equal(await next(), `brought ${round} ${round} ${round}`);
  }
  for (const { liaison } of ranks) liaison.leave();
  for (const { next } of ranks) t.equal(await next(), 'left');
});

t.test('a rank with another secret is refused, and hears nothing but the challenge', async (t) => {
  const place = await openHub(t, 2);
  await t.rejects(joinAs(t, place, 1, { size: 2, secret: 'what others have in common' }), {
    message: /refused rank 1 .*; do all ranks have the same VIADUCT_JOB_SECRET\?/,
  });
  const { socket, greeting, rest } = await stranger(t, place);
  const proof = new RankProof('what others have in common', 1, 2);
  socket.write(`${proof.answer(greeting)}\n`);
  t.equal(await rest(), '');
  await expectMeeting(t, place);
});

t.test('strangers without a secret are shown out without a word', async (t) => {
  const place = await openHub(t, 2);
  for (const words of [
    'GET / HTTP/1.1\r\n\r\n',
    'bring value\n',
    'leave\n',
    '\n',
    `rank 1 of 2 ${'A'.repeat(43)} ${'A'.repeat(43)}\n`,
    `rank 1 of 2 ${'A'.repeat(43)}\n`,
    `rank 99999999999999999999 of 2 ${'A'.repeat(43)} ${'A'.repeat(43)}\n`,
    '\u0000\u00ff\u0001'.repeat(100) + '\n',
    'x'.repeat(100_000),
    `${'x'.repeat(100_000)}\n`,
  ]) {
    const { socket, rest } = await stranger(t, place);
    socket.write(words, 'latin1');
    t.equal(await rest(), '', JSON.stringify(words.slice(0, 20)));
  }
  await expectMeeting(t, place);
});

t.test('what was overheard of a rank serves nobody again', async (t) => {
  const place = await openHub(t, 2);
  const first = await stranger(t, place);
  const answer = new RankProof(secret, 1, 2).answer(first.greeting) ?? '';
  const second = await stranger(t, place);
  t.not(second.greeting, first.greeting);
  second.socket.write(`${answer}\n`);
  t.equal(await second.rest(), '');
  // The same words are good where they belong.
  first.socket.write(`${answer}\n`);
  await once(first.socket, 'data');
});

t.test('neither side’s proof serves as the other’s', async (t) => {
  const hub = new HubProof(secret);
  const rank = new RankProof(secret, 0, 1);
  const answer = rank.answer(hub.greeting) ?? '';
  t.strictSame(hub.check(answer), { rank: 0, size: 1 });
  t.equal(rank.check(`welcome ${answer.split(' ').at(-1)}`), undefined);
  t.strictSame(rank.check(hub.verdict()), { refusal: undefined });
  // A refusal can't be made of a welcome.
  t.equal(rank.check(hub.verdict().replace('welcome', 'refused AAAA')), undefined);
  t.strictSame(rank.check(hub.verdict('no')), { refusal: 'no' });
});

t.test('an answer with other words than were proven is refused', async (t) => {
  const hub = new HubProof(secret);
  const answer = new RankProof(secret, 1, 2).answer(hub.greeting) ?? '';
  t.equal(hub.check(answer.replace('rank 1', 'rank 0')), undefined);
  t.equal(hub.check(answer.replace('of 2', 'of 3')), undefined);
});

t.test('a rank tells one that is no hub from a hub', async (t) => {
  for (const words of [
    'HTTP/1.1 400 Bad Request\r\n',
    `viaduct-hub 1 ${'A'.repeat(43)}\nwelcome x\n`,
    'x'.repeat(5000),
  ]) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(words);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const place = { port: (server.address() as AddressInfo).port, accepted: [] };
    await t.rejects(joinAs(t, place, 1, { size: 2 }), {
      message: /is not rank 0 of this job: it does not know the job's secret/,
    });
    server.close();
  }
});

t.test('crowds of silent strangers keep no rank out', async (t) => {
  const place = await openHub(t, 2);
  const crowd = await Promise.all(Array.from({ length: 200 }, () => stranger(t, place)));
  await expectMeeting(t, place);
  const open = place.accepted.filter(({ destroyed }) => !destroyed).length;
  t.ok(open <= 66, `${open} connections are open`);
  t.equal(crowd.length, 200);
});

t.test('a second rank of one number, and one of another job, are told why not', async (t) => {
  const place = await openHub(t, 2);
  await joinAs(t, place, 1, { size: 2 });
  await t.rejects(joinAs(t, place, 1, { size: 2 }), { message: /there is a rank 1 already/ });
  await t.rejects(joinAs(t, place, 0, { size: 3 }), {
    message: /rank 0 was told of 2 ranks, and rank 0 of 3/,
  });
});

t.test('ranks learn of one that goes without leaving', async (t) => {
  const place = await openHub(t, 3);
  const ranks = await Promise.all([0, 1, 2].map((rank) => joinAs(t, place, rank, { size: 3 })));
  ranks[1].liaison.close();
  for (const rank of [0, 2]) {
    t.match(await ranks[rank].next(), /^failed 1 has closed its connection/);
  }
});

t.test(
  'ranks learn of one that falls silent, and that one of having lost the others',
  async (t) => {
    const place = await openHub(t, 2, 500);
    const [, second] = await Promise.all([0, 1].map((rank) => joinAs(t, place, rank, { size: 2 })));
    const third = await openHub(t, 2, 500);
    const lonely = await joinAs(t, third, 1, { size: 2, silenceMs: 500 });
    // No network is cut here: the connection is, without a word to either side.
    for (const { accepted } of [place, third]) accepted[0].pause();
    place.accepted[0].removeAllListeners('data');
    t.match(await second.next(), /^failed \d was not heard of for 0.5 s: it is stopped/);
    third.accepted[0].destroy();
    t.match(await lonely.next(), /^lost /);
  },
);

t.test('all learn who did not come in time', async (t) => {
  const place = await openHub(t, 4, 30_000, 300);
  const ranks = await Promise.all([1, 2].map((rank) => joinAs(t, place, rank, { size: 4 })));
  for (const { next } of ranks) {
    t.equal(await next(), 'missing rank 0, 3 of 4 did not come within 0.3 s');
  }
});
