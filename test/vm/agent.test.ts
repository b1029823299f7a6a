/** The agent client against guests that say what no agent says. */
import { Duplex } from 'node:stream';

import t from 'tap';

import { AgentClient } from '../../lib/vm/agent.js';
import { VmError } from '../../lib/vm/errors.js';
import { encodeFrame, encodeHello, FRAME, PayloadWriter } from '../../lib/vm/protocol.js';
import { seededRandom } from '../seeded-random.js';

const TRUE = { root: '/host', cwd: '/', command: ['true'], environment: [] };

/** A client whose guest is the test. */
function connect(silenceTimeoutMs = 30_000): {
  client: AgentClient;
  say: (...frames: Buffer[]) => void;
  lost: Promise<{ code: string; message: string }>;
} {
  const channel = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const { promise: lost, resolve } = newPromise<{ code: string; message: string }>();
  const client: AgentClient = new AgentClient(channel, {
    vm: 'strange',
    silenceTimeoutMs,
    onLost: (code, message) => {
      client.close(new VmError(code, message, { vm: 'strange' }));
      resolve({ code, message });
    },
  });
  return { client, say: (...frames) => channel.push(Buffer.concat(frames)), lost };
}

function newPromise<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

const empty = Buffer.alloc(0);
const hello = encodeFrame(FRAME.hello, 0, encodeHello('6.1'));

const strangeThings: readonly (readonly [string, readonly Buffer[]])[] = [
  ['bytes that are no frame', [Buffer.from('Kernel panic - not syncing')]],
  ['a frame before the greeting', [encodeFrame(FRAME.pong, 0, empty)]],
  ['a greeting that is none', [encodeFrame(FRAME.hello, 0, Buffer.from('hello'))]],
  [
    'another version',
    [encodeFrame(FRAME.hello, 0, new PayloadWriter().text('viaduct').u32(9).bytes())],
  ],
  ['an exit without status', [hello, encodeFrame(FRAME.exited, 1, empty)]],
  ['a window that is too short', [hello, encodeFrame(FRAME.window, 1, Buffer.of(5, 1))]],
  ['a window for output', [hello, encodeFrame(FRAME.window, 1, Buffer.of(6, 1, 0, 0, 0))]],
  [
    'more room for input than there was',
    [hello, encodeFrame(FRAME.window, 1, Buffer.of(5, 1, 0, 0, 0))],
  ],
  ['more output than was granted', [hello, encodeFrame(FRAME.output, 1, Buffer.alloc(300_000))]],
  ['an answer to nothing', [hello, encodeFrame(FRAME.done, 1, empty)]],
  ['more read than was sent', [hello, encodeFrame(FRAME.received, 0, Buffer.of(0, 0, 1, 0))]],
];

for (const [what, frames] of strangeThings) {
  t.test(`${what}: the machine is lost, its command fails, the host goes on`, async (t) => {
    const { client, say, lost } = connect();
    const command = client.spawn(TRUE, {});
    say(...frames);
    t.match(await lost, { code: 'ERR_VM_PROTOCOL' });
    await t.rejects(command.exited, { code: 'ERR_VM_PROTOCOL', vm: 'strange' });
    await t.rejects(client.spawn(TRUE, {}).exited, { code: 'ERR_VM_PROTOCOL' });
  });
}

t.test('random bytes after the greeting do no harm', async (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 200; round += 1) {
    const { client, say } = connect();
    client.spawn(TRUE, {}).stdout.resume();
    const type = random.pick(Object.values(FRAME));
    const payload = Buffer.from(Array.from({ length: random.below(12) }, () => random.below(256)));
    say(hello, encodeFrame(type, random.below(3), payload));
    await new Promise((resolve) => setImmediate(resolve));
    client.close(new VmError('ERR_VM_ENDED', 'the test is over'));
  }
  t.pass('survived');
});

t.test('frames for a command that has ended are passed over', async (t) => {
  const { client, say } = connect();
  say(hello);
  await client.ready;
  const command = client.spawn(TRUE, {});
  say(encodeFrame(FRAME.exited, 1, Buffer.alloc(8)), encodeFrame(FRAME.output, 1, Buffer.of(1)));
  t.same(await command.exited, { exitCode: 0, signal: null });
  client.close(new VmError('ERR_VM_ENDED', 'the test is over'));
});

t.test('an agent that answers no ping is lost', async (t) => {
  const { client, say, lost } = connect(100);
  say(hello);
  await client.ready;
  // The client's timer alone keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  t.match(await lost, { code: 'ERR_VM_SILENT', message: /100 ms/ });
  clearInterval(alive);
});
