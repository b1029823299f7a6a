/** Apertures as their users see them. */
import { constants } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import t, { type Test } from 'tap';

import { Aperture, ApertureError } from '../../lib/aperture/index.js';
import { ClosedError } from '../../lib/errors.js';

const MiB = 1 << 20;

/** Runs a module in a process of its own; yields its lines of output. */
function startModule(t: Test, source: string) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: process.cwd(),
  });
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

t.test('two openings of one aperture see the same bytes', (t) => {
  using mine = Aperture.create({ sizeBytes: MiB });
  using theirs = Aperture.open(mine.path);
  const { offset, buffer } = mine.allocate(4096);
  new Uint8Array(buffer).fill(7);
  t.equal(theirs.identity, mine.identity);
  t.ok(new Uint8Array(theirs.blockAt(offset, 4096)).every((byte) => byte === 7));
  t.end();
});

t.test('two apertures have different identities', (t) => {
  using one = Aperture.create({ sizeBytes: 4096 });
  using other = Aperture.create({ sizeBytes: 4096 });
  t.not(one.identity, other.identity);
  t.end();
});

t.test('another process opens an aperture by its path', async (t) => {
  using aperture = Aperture.create({ sizeBytes: MiB });
  const { offset, buffer } = aperture.allocate(8);
  new Int32Array(buffer)[0] = 41;
  const { lines } = startModule(
    t,
    `import { Aperture } from 'viaduct/aperture';
     const words = new Int32Array(Aperture.open('${aperture.path}').blockAt(${offset}, 8));
     words[1] = words[0] + 1;
     console.log('done');`,
  );
  t.equal((await lines.next()).value, 'done');
  t.equal(new Int32Array(buffer)[1], 42);
});

t.test('nothing is left of an aperture whose creator is killed', async (t) => {
  const { child, lines } = startModule(
    t,
    `import { Aperture } from 'viaduct/aperture';
     const aperture = Aperture.create({ sizeBytes: 1 << 20 });
     console.log(aperture.path);
     setInterval(() => {}, 1000);`,
  );
  const path = (await lines.next()).value as string;
  const aperture = Aperture.open(path);
  const before = readFileSync('/proc/self/maps', 'utf8');
  t.match(before, /viaduct-aperture \(deleted\)/, 'it has no name in any file system');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.throws(() => Aperture.open(path), { code: 'ERR_APERTURE_MISSING' });
  aperture.close();
});

t.test(
  'an aperture stays open without a reference to it, for those who know its path',
  async (t) => {
    const { lines } = startModule(
      t,
      `import { setFlagsFromString } from 'node:v8';
     import { runInNewContext } from 'node:vm';
     import { Aperture } from 'viaduct/aperture';
     setFlagsFromString('--expose-gc');
     const collect = runInNewContext('gc');
     const path = Aperture.create({ sizeBytes: 4096 }).path;
     collect();
     setTimeout(() => {
       collect();
       setImmediate(() => console.log(path));
     }, 1);
     setInterval(() => {}, 1000);`,
    );
    const path = (await lines.next()).value as string;
    using aperture = Aperture.open(path);
    t.equal(aperture.path, path);
  },
);

t.test('an aperture outlives its creator for those who have it open', async (t) => {
  const { child, lines } = startModule(
    t,
    `import { Aperture } from 'viaduct/aperture';
     const aperture = Aperture.create({ sizeBytes: 1 << 20 });
     console.log(aperture.path);
     setInterval(() => {}, 1000);`,
  );
  using aperture = Aperture.open((await lines.next()).value as string);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { buffer } = aperture.allocate(64);
  new Uint8Array(buffer).fill(1);
  t.equal(new Uint8Array(buffer)[63], 1);
});

t.test('an aperture cannot be truncated under its participants', (t) => {
  using aperture = Aperture.create({ sizeBytes: MiB });
  t.throws(
    () => {
      truncateSync(aperture.path, 4096);
    },
    { code: 'EPERM' },
  );
  t.end();
});

t.test('only its user may open an aperture', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  t.equal(statSync(aperture.path).mode & 0o777, 0o600);
  t.end();
});

t.test('a door that is not there is named, with what to do', (t) => {
  t.throws(() => Aperture.open('/proc/self/fd/99999'), {
    code: 'ERR_APERTURE_MISSING',
    message: /no aperture at \/proc\/self\/fd\/99999.*viaduct run/,
  });
  t.end();
});

t.test('a file that is no aperture is refused', (t) => {
  const directory = t.testdir({ short: 'x', long: 'not an aperture\n'.repeat(512) });
  for (const name of ['short', 'long']) {
    t.throws(() => Aperture.open(join(directory, name)), { code: 'ERR_APERTURE_FOREIGN' });
  }
  t.end();
});

t.test('an aperture whose header contradicts itself is refused', (t) => {
  const directory = t.testdir({ copy: '' });
  const path = join(directory, 'copy');
  using aperture = Aperture.create({ sizeBytes: 16384, participants: 2 });
  const fields: [string, number][] = [
    ['version', 8],
    ['capacity', 12],
    ['size', 16],
    ['page table', 44],
    ['pages', 48],
  ];
  for (const [name, offset] of fields) {
    const bytes = Buffer.from(new Uint8Array(aperture.memory));
    bytes.writeUInt32LE(0x7ffffff0, offset);
    const file = openSync(path, 'w');
    writeSync(file, bytes);
    closeSync(file);
    t.throws(() => Aperture.open(path), { code: 'ERR_APERTURE_FOREIGN' }, name);
  }
  t.end();
});

t.test('sizes that are no sizes are refused', (t) => {
  for (const sizeBytes of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => Aperture.create({ sizeBytes }), { code: 'ERR_APERTURE_ARGUMENT' });
  }
  for (const participants of [0, -1, 1.5, 1e9]) {
    t.throws(() => Aperture.create({ sizeBytes: 4096, participants }), {
      code: 'ERR_APERTURE_ARGUMENT',
    });
  }
  t.end();
});

t.test('a size that no buffer can have is refused', (t) => {
  for (const sizeBytes of [constants.MAX_LENGTH, 2 ** 44, Number.MAX_SAFE_INTEGER]) {
    t.throws(() => Aperture.create({ sizeBytes }), {
      code: 'ERR_APERTURE_ARGUMENT',
      message: /more than one buffer of this Node\.js can have/,
    });
  }
  t.end();
});

t.test('a full aperture says how much is free', (t) => {
  using aperture = Aperture.create({ sizeBytes: 8 * 4096 });
  t.equal(aperture.freeBytes, 8 * 4096);
  aperture.allocate(5 * 4096);
  t.throws(() => aperture.allocate(4 * 4096), {
    code: 'ERR_APERTURE_FULL',
    operands: { freeBytes: 3 * 4096 },
  });
  t.end();
});

t.test('a freed block is detached, and its room is used again', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4 * 4096 });
  for (let round = 0; round < 100; round++) {
    const block = aperture.allocate(4 * 4096 - round);
    t.equal(block.buffer.byteLength, 4 * 4096 - round);
    new Uint8Array(block.buffer).fill(round);
    aperture.free(block);
    t.equal(block.buffer.byteLength, 0);
  }
  t.end();
});

t.test('a block is freed once only', (t) => {
  using aperture = Aperture.create({ sizeBytes: MiB });
  const block = aperture.allocate(100);
  aperture.free(block);
  t.throws(
    () => {
      aperture.free(block);
    },
    { code: 'ERR_APERTURE_ARGUMENT' },
  );
  t.end();
});

t.test('a block is freed only by the participant that allocated it', (t) => {
  using mine = Aperture.create({ sizeBytes: MiB });
  using theirs = Aperture.open(mine.path);
  mine.attach(0);
  theirs.attach(1);
  const block = mine.allocate(100);
  t.throws(
    () => {
      theirs.free({ offset: block.offset, buffer: theirs.blockAt(block.offset, 100) });
    },
    { code: 'ERR_APERTURE_ARGUMENT' },
  );
  mine.free(block);
  t.end();
});

t.test('blocks of a participant that is gone are reclaimed', (t) => {
  using mine = Aperture.create({ sizeBytes: 16 * 4096 });
  using theirs = Aperture.open(mine.path);
  theirs.attach(3);
  theirs.allocate(5 * 4096);
  theirs.allocate(2 * 4096);
  mine.allocate(4096);
  t.equal(mine.reclaim(3), 7 * 4096);
  t.equal(mine.freeBytes, 15 * 4096);
  t.end();
});

t.test('blockAt refuses what is no block', (t) => {
  using aperture = Aperture.create({ sizeBytes: MiB });
  const { offset } = aperture.allocate(4096);
  for (const [at, size] of [
    [offset, 4097],
    [offset, 0],
    [offset + 1, 10],
    [offset + 4096, 10],
    [0, 10],
    [1e15, 10],
    [-4096, 10],
  ] as const) {
    t.throws(() => aperture.blockAt(at, size), { code: 'ERR_APERTURE_ARGUMENT' });
  }
  t.end();
});

t.test('a closed aperture detaches its memory and refuses calls', (t) => {
  const aperture = Aperture.create({ sizeBytes: MiB });
  const { buffer } = aperture.allocate(100);
  aperture.close();
  aperture.close();
  t.equal(buffer.byteLength, 0);
  t.equal(aperture.memory.byteLength, 0);
  t.throws(() => aperture.allocate(1), ClosedError);
  t.throws(() => aperture.identity, ClosedError);
  t.end();
});

t.test('errors of apertures are ApertureErrors', (t) => {
  t.throws(() => Aperture.open('/nonexistent'), ApertureError);
  t.end();
});
