/** Guests' kernels: how an image is unpacked, modules are ordered, and the cache is shared. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

import t from 'tap';

import { cachedFolder } from '../../lib/vm/cache.js';
import { readModules } from '../../lib/vm/kernel/modules.js';
import { extractVmlinux } from '../../lib/vm/kernel/vmlinux.js';

const elf = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(5000, 'vmlinux')]);

/** A bzImage with this payload, as boot protocol 2.08 lays it out. */
function bzImage(payload: Buffer): Buffer {
  const setupSectors = 2;
  const start = (setupSectors + 1) * 512;
  const image = Buffer.alloc(start + 100 + payload.byteLength);
  image.writeUInt8(setupSectors, 0x1f1);
  image.write('HdrS', 0x202);
  image.writeUInt16LE(0x0208, 0x206);
  image.writeUInt32LE(100, 0x248);
  image.writeUInt32LE(payload.byteLength, 0x24c);
  payload.copy(image, start + 100);
  return image;
}

const size = Buffer.alloc(4);
size.writeUInt32LE(elf.byteLength);
const packers = [
  ['gzip', () => gzipSync(elf)],
  ['xz', () => spawnSync('xz', ['-c', '--check=crc32'], { input: elf }).stdout],
  ['zstd', () => spawnSync('zstd', ['-cq'], { input: elf }).stdout],
] as const;

for (const [name, pack] of packers) {
  t.test(`a kernel that is compressed by ${name}`, async (t) => {
    const packed = pack() as Buffer | null;
    if (packed === null) {
      t.comment(`skipped: ${name} is not installed`);
      return;
    }
    const image = bzImage(Buffer.concat([packed, size]));
    t.ok((await extractVmlinux(image, 'bzImage')).equals(elf));
    image.fill(0x55, image.byteLength - (packed.byteLength >> 1));
    await t.rejects(extractVmlinux(image, 'bzImage'), { message: /corrupt|can't be used/ });
  });
}

t.test('an ELF image stays as it is, and anything else is no kernel', async (t) => {
  t.equal(await extractVmlinux(elf, 'vmlinux'), elf);
  const beyond = bzImage(gzipSync(elf));
  beyond.writeUInt32LE(2 ** 31, 0x24c);
  for (const image of [Buffer.alloc(0), Buffer.alloc(4096), beyond, bzImage(Buffer.from('zip'))]) {
    await t.rejects(extractVmlinux(image, 'it'), { code: 'ERR_VM_KERNEL', message: /kernel it/ });
  }
});

t.test('modules come after what they need, each once', async (t) => {
  const folder = t.testdir({
    'modules.dep': 'k/a-b.ko: k/c.ko k/d.ko\nk/c.ko: k/d.ko\nk/d.ko:\nk/e.ko: k/d.ko\n',
    'modules.builtin': 'k/inside.ko\n',
    k: { 'a-b.ko': '1', 'c.ko': '2', 'd.ko': '3', 'e.ko': '4' },
  });
  const modules = await readModules(folder, ['a_b', 'e', 'inside']);
  t.same(
    modules.map(({ name, data }) => `${name} ${data.toString()}`),
    ['d 3', 'c 2', 'a_b 1', 'e 4'],
  );
  await t.rejects(readModules(folder, ['f']), { code: 'ERR_VM_KERNEL', message: /no module f/ });
  await t.rejects(readModules(`${folder}/k`, ['a_b']), { code: 'ERR_VM_KERNEL' });
});

t.test('a folder of the cache is made once, and whole or not at all', async (t) => {
  const path = `${t.testdir({})}/folder`;
  let made = 0;
  const make = async (staging: string): Promise<void> => {
    made += 1;
    writeFileSync(`${staging}/first`, '');
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.notOk(existsSync(path));
    writeFileSync(`${staging}/second`, '');
  };
  await t.rejects(
    cachedFolder(path, async (staging) => {
      writeFileSync(`${staging}/first`, '');
      throw new Error('no space');
    }),
    { message: 'no space' },
  );
  t.same(readdirSync(t.testdirName), ['folder.lock']);
  await Promise.all(Array.from({ length: 3 }, () => cachedFolder(path, make)));
  t.equal(made, 1);
  t.same(readdirSync(path), ['first', 'second']);
});
