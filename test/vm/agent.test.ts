/** The agent client against guests that say what no agent says. */
import { Duplex } from 'node:stream';

import t from 'tap';

import { AgentClient } from '../../lib/vm/agent.js';
import { VmError } from '../../lib/vm/errors.js';
import {
  encodeFrame,
  FRAME,
  LINE_WINDOW_BYTES,
  PayloadWriter,
  PROTOCOL_VERSION,
} from '../../lib/vm/protocol.js';
import { seededRandom } from '../seeded-random.js';

const TRUE = { root: '/host', cwd: '/', command: ['true'], environment: [] };

/** A client whose guest is the test. */
function connect(
  silenceTimeoutMs = 30_000,
  takesOver = false,
  onWrite: (bytes: Buffer) => void = () => {},
): {
  client: AgentClient;
  say: (...frames: Buffer[]) => void;
  lost: Promise<{ code: string; message: string }>;
} {
  const channel = new Duplex({
    read() {},
    write: (chunk: Buffer, _encoding, done) => {
      onWrite(chunk);
      done();
    },
  });
  const { promise: lost, resolve } = newPromise<{ code: string; message: string }>();
  const client: AgentClient = new AgentClient(channel, {
    vm: 'strange',
    silenceTimeoutMs,
    takesOver,
    lineWindowBytes: LINE_WINDOW_BYTES,
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
const greeting = new PayloadWriter()
  .text('viaduct')
  .u32(PROTOCOL_VERSION)
  .text('6.1')
  .u32(0)
  .bytes();
const hello = encodeFrame(FRAME.hello, 0, greeting);

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

/** A client that takes over from a former host, and what it has written. */
function takeOver(): ReturnType<typeof connect> & { written: () => Buffer } {
  const written: Buffer[] = [];
  const connection = connect(30_000, true, (bytes) => written.push(bytes));
  connection.client.takeOver();
  return { ...connection, written: () => Buffer.concat(written) };
}

/** The agent's answer to the host's greeting, on the same stream. */
const answer = (greetingOfHost: Buffer, ...commands: readonly Buffer[]): Buffer => {
  const count = new PayloadWriter().u32(commands.length).bytes();
  const head = greeting.subarray(0, -4);
  const payload = Buffer.concat([head, count, ...commands]);
  return encodeFrame(FRAME.hello, greetingOfHost.readUInt32LE(4), payload);
};
const running = (stream: number, pendingBytes = 0): Buffer =>
  new PayloadWriter().u32(stream).u32(77).u32(pendingBytes).bytes();

t.test('a new host passes over the end of what was meant for the former one', async (t) => {
  const { client, say, written } = takeOver();
  const old = encodeFrame(FRAME.output, 3, Buffer.from('half of it'));
  const whole = Buffer.concat([old.subarray(9), hello, answer(written(), running(3))]);
  const output = encodeFrame(FRAME.output, 3, Buffer.from('more'));
  for (let at = 0; at < whole.byteLength; at += 5) say(whole.subarray(at, at + 5));
  await client.ready;
  const [command] = client.adopted;
  t.equal(await command?.started, 77);
  say(output, encodeFrame(FRAME.exited, 3, Buffer.alloc(8)));
  t.same(await command?.exited, { exitCode: 0, signal: null });
  t.equal(String(command?.stdout.read()), 'more');
  const next = client.spawn(TRUE, {});
  t.ok(
    written()
      .subarray(-200)
      .includes(encodeFrame(FRAME.exec, 4, empty).subarray(0, 8)),
  );
  client.close(new VmError('ERR_VM_ENDED', 'the test is over'));
  await t.rejects(next.exited, { code: 'ERR_VM_ENDED' });
});

for (const [what, commands] of [
  ['twice', [running(3), running(3)]],
  ['with more input than there can be', [running(3, 2 ** 30)]],
  ['by half', [running(3).subarray(0, 5)]],
] as const) {
  t.test(`an agent that lists a command ${what} is lost`, async (t) => {
    const { say, lost, written } = takeOver();
    say(answer(written(), ...commands));
    t.match(await lost, { code: 'ERR_VM_PROTOCOL' });
  });
}

t.test('a host that rests sends nothing until it wakes', async (t) => {
  const written: Buffer[] = [];
  const { client, say } = connect(30_000, false, (bytes) => written.push(bytes));
  say(hello);
  await client.ready;
  const resting = client.rest();
  const ping = written.at(-1);
  t.equal(ping?.readUInt8(2), FRAME.ping);
  say(encodeFrame(FRAME.pong, ping?.readUInt32LE(4) ?? 0, empty));
  await resting;
  const before = written.length;
  const command = client.spawn(TRUE, {});
  t.equal(written.length, before);
  client.wake();
  t.equal(written.length, before + 1);
  client.close(new VmError('ERR_VM_ENDED', 'the test is over'));
  await t.rejects(command.exited, { code: 'ERR_VM_ENDED' });
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
