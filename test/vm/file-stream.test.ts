/** The stream of files against guests that want more than their folder. */
import { chmodSync, lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';

import t from 'tap';

import { packFiles, unpackFiles } from '../../lib/vm/file-stream.js';
import { seededRandom } from '../seeded-random.js';

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([u32(value.length), Buffer.from(value)]);
const entry = (kind: string, mode: number, path: string, ...rest: Buffer[]): Buffer =>
  Buffer.concat([Buffer.from(kind), u32(mode), text(path), ...rest]);
const folder = entry('d', 0o755, '');
const file = (path: string): Buffer => entry('f', 0o644, path, u32(1), Buffer.from('x'), u32(0));
const end = Buffer.from('e');

async function* inPieces(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += length) yield bytes.subarray(at, at + length);
}

async function collected(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

t.test('what is packed is unpacked as it was, cut anywhere', async (t) => {
  const from = t.testdir({
    from: { a: 'one', folder: { b: 'y'.repeat(100_000), link: t.fixture('symlink', '../a') } },
  });
  chmodSync(`${from}/from/a`, 0o640);
  const bytes = await collected(packFiles(`${from}/from`));
  for (const length of [1, 7, 4096, 1 << 20]) {
    const to = `${from}/to-${length}`;
    await unpackFiles(inPieces(bytes, length), to);
    t.ok((await collected(packFiles(to))).equals(bytes));
  }
});

t.test('a guest’s file does not come with another user’s rights', async (t) => {
  const to = `${t.testdir({})}/to`;
  await unpackFiles(inPieces(Buffer.concat([entry('f', 0o6755, '', u32(0)), end]), 10), to);
  t.equal(statSync(to).mode & 0o7777, 0o755);
});

const link = (path: string, target: string): Buffer => entry('l', 0o777, path, text(target));
const attacks: readonly (readonly [string, readonly Buffer[]])[] = [
  ['a path upwards', [folder, file('../escaped'), end]],
  ['a path through a folder upwards', [folder, entry('d', 0o755, 'a'), file('a/../../escaped')]],
  ['an absolute path', [folder, file('/tmp/escaped'), end]],
  ['a path with an empty part', [folder, file('a//b'), end]],
  ['a path with NUL', [folder, file('a\0b'), end]],
  ['a file through a link', [folder, link('a', '..'), file('a/escaped'), end]],
  ['a link out', [folder, link('a', '../escaped'), end]],
  ['a link out by a detour', [folder, entry('d', 0o755, 'b'), link('b/a', '../../escaped'), end]],
  ['an absolute link', [folder, link('a', '/etc'), end]],
  ['a link as the whole', [link('', 'escaped'), end]],
  ['a link through a link', [folder, link('a', '.'), link('a/b', '..'), end]],
  ['a path that comes twice', [folder, file('a'), file('a'), end]],
  ['a file before its folder', [folder, file('a/b'), end]],
  ['a file in a file', [file(''), file('a'), end]],
  ['nothing', [end]],
  ['no end', [folder, file('a')]],
  ['an end amid a file', [folder, file('a').subarray(0, -3)]],
  ['the guest’s own failure', [folder, Buffer.from('x')]],
  ['an unknown kind', [folder, entry('z', 0, 'a'), end]],
  ['a path longer than any', [folder, entry('f', 0, 'a'.repeat(5000)), end]],
];

for (const [what, parts] of attacks) {
  t.test(`${what} fails the copy and leaves nothing`, async (t) => {
    const top = t.testdir({ inner: {} });
    await t.rejects(unpackFiles(inPieces(Buffer.concat(parts), 13), `${top}/inner/to`));
    t.same(readdirSync(`${top}/inner`), []);
    t.same(readdirSync(top), ['inner']);
  });
}

t.test('random streams write nothing outside, and nothing that is not whole', async (t) => {
  const random = seededRandom(t);
  const top = t.testdir({ inner: {} });
  const good = Buffer.concat([folder, entry('d', 0o700, 'a'), file('a/b'), link('c', 'a/b'), end]);
  for (let round = 0; round < 200; round += 1) {
    const bytes = Buffer.from(good);
    for (let flips = 1 + random.below(3); flips > 0; flips -= 1) {
      bytes[random.below(bytes.byteLength)] = random.below(256);
    }
    await unpackFiles(inPieces(bytes, 1 + random.below(40)), `${top}/inner/${round}`).catch(
      () => {},
    );
  }
  t.same(readdirSync(top), ['inner']);
  for (const name of readdirSync(`${top}/inner`)) {
    t.match(name, /^\d+$/);
    const made = `${top}/inner/${name}`;
    if (lstatSync(made).isFile()) readFileSync(made);
  }
});
