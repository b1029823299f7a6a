/** The launcher's side of PMI-1, line by line, and what it makes of lines that nobody should send. */
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';

import t from 'tap';

import { PmiClient, PmiServer } from '../../lib/pmi/index.js';
import { encodeMapping } from '../../lib/pmi/server.js';

/** Two ends of a connection. */
function connection(): [Duplex, Duplex] {
  const ends: Duplex[] = [0, 1].map(
    (own) =>
      new Duplex({
        read() {},
        write(chunk, _encoding, done) {
          ends[1 - own].push(chunk);
          done();
        },
        final(done) {
          ends[1 - own].push(null);
          done();
        },
      }),
  );
  return [ends[0], ends[1]];
}

function serve(size: number) {
  const aborts: [number, number][] = [];
  const server = new PmiServer({
    size,
    nodes: Array<number>(size).fill(0),
    onAbort: (rank, exitCode) => aborts.push([rank, exitCode]),
  });
  const connections = Array.from({ length: size }, connection);
  for (const [rank, [, ours]] of connections.entries()) server.serve(rank, ours);
  return { server, streams: connections.map(([theirs]) => theirs), connections, aborts };
}

/** What the server says to these lines of rank 0. */
async function exchange(lines: string, size = 1) {
  const served = serve(size);
  const answers: string[] = [];
  served.streams[0].on('data', (chunk: Buffer) => answers.push(chunk.toString()));
  served.streams[0].write(lines);
  await turn();
  return { ...served, answers: answers.join('').split('\n').slice(0, -1) };
}

t.test('ranks read what others have put before a barrier', async (t) => {
  const { server, streams } = serve(3);
  const clients = await Promise.all(streams.map((stream, rank) => PmiClient.over(stream, rank, 3)));
  const seen = await Promise.all(
    clients.map(async (client) => {
      await client.put(`key-${client.rank}`, `value-${client.rank}`);
      await client.barrier();
      return Promise.all([0, 1, 2].map((rank) => client.get(`key-${rank}`)));
    }),
  );
  t.strictSame(seen, Array(3).fill(['value-0', 'value-1', 'value-2']));
  t.equal(server.state(1), 'joined');
  await Promise.all(clients.map((client) => client.finalize()));
  t.equal(server.state(1), 'finalized');
});

t.test('a key that nobody has put, and one put twice, are refused', async (t) => {
  const { streams } = serve(1);
  const client = await PmiClient.over(streams[0], 0, 1);
  await t.rejects(client.get('nothing'), {
    code: 'ERR_PMI_REFUSED',
    message: /key_nothing_not_found/,
  });
  await client.put('a', '1');
  await t.rejects(client.put('a', '2'), { code: 'ERR_PMI_REFUSED', message: /duplicate/ });
  await t.rejects(client.put('b', 'x'.repeat(1025)), { message: /value_too_long/ });
  await t.rejects(client.put('k'.repeat(65), 'x'), { message: /bad_key/ });
});

t.test('a client learns that its launcher is gone, or speaks something else', async (t) => {
  const { streams } = serve(1);
  const client = await PmiClient.over(streams[0], 0, 1);
  const waiting = client.get('nothing');
  streams[0].destroy();
  await t.rejects(waiting, { code: 'ERR_PMI_CLOSED' });
  await t.rejects(client.put('a', '1'), { code: 'ERR_PMI_CLOSED' });

  const [theirs, ours] = connection();
  ours.on('data', () => ours.write('HTTP/1.1 400 Bad Request\n'));
  await t.rejects(PmiClient.over(theirs, 0, 1), { code: 'ERR_PMI_PROTOCOL', message: /HTTP/ });
  const [endless, other] = connection();
  other.on('data', () => other.write('x'.repeat(5000)));
  await t.rejects(PmiClient.over(endless, 0, 1), { code: 'ERR_PMI_PROTOCOL' });
  await t.rejects(PmiClient.over(endless, 2, 2), { code: 'ERR_PMI_ENVIRONMENT' });
});

t.test('a request to start processes is refused, however many lines it has', async (t) => {
  const lines = 'mcmd=spawn\nnprocs=1\nexecname=/bin/true\ncmd=finalize\nendcmd\ncmd=get_appnum\n';
  const { answers, server } = await exchange(lines);
  t.strictSame(answers, [
    'cmd=spawn_result rc=-1 msg=spawning_is_not_supported',
    'cmd=appnum appnum=0',
  ]);
  t.equal(server.state(0), 'absent');
});

t.test('an abort names its rank, and what follows it is not looked at', async (t) => {
  const { answers, aborts } = await exchange(`cmd=abort exitcode=300\n\0garbage\ncmd=get_appnum\n`);
  t.strictSame(aborts, [[0, 300 % 256]]);
  t.strictSame(answers, []);
  t.strictSame((await exchange('cmd=abort exitcode=0\n')).aborts, [[0, 1]], 'it is a failure');
});

t.test('lines that make no sense get an answer, or end the connection', async (t) => {
  const { answers } = await exchange('cmd=dance\n\ncmd=lookup_name service=x\n=\n');
  t.equal(answers[0], 'cmd=dance_result rc=-1 msg=unknown_command');
  t.equal(answers[2], 'cmd=lookup_result rc=-1 info=names_are_not_supported');
  const { connections } = await exchange('x'.repeat(5000));
  t.ok(connections[0][1].destroyed);
});

t.test('a rank in a barrier is counted once', async (t) => {
  const { answers } = await exchange('cmd=barrier_in\ncmd=barrier_in\n', 2);
  t.strictSame(answers, []);
});

t.test('the mapping of ranks to nodes has the fewest blocks', async (t) => {
  t.equal(encodeMapping([0, 0, 0]), '(vector,(0,1,3))');
  t.equal(encodeMapping([0, 1, 2]), '(vector,(0,3,1))');
  t.equal(encodeMapping([0, 0, 1, 1]), '(vector,(0,2,2))');
  t.equal(encodeMapping([1, 2, 0]), '(vector,(1,2,1),(0,1,1))');
  t.equal(encodeMapping([0, 0, 1]), '(vector,(0,1,2),(1,1,1))');
});
