/** One aperture in machines of both drivers and on the host: the same bytes. */
import t from 'tap';

import { Aperture } from '../../lib/aperture/index.js';
import { VirtualMachine } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import { withoutUml } from '../uml-installed.js';

t.setTimeout(120_000);

const library = new URL('../../lib/aperture/index.js', import.meta.url).href;
const program = (body: string): string[] => [
  '--input-type=module',
  '--eval',
  `import { Aperture } from '${library}';
   const [offset, mine, theirs] = process.argv.slice(1).map(Number);
   const words = new Int32Array(Aperture.open().blockAt(offset, 4096));
   ${body}`,
];

t.test(
  'what a machine stores the machine of the other driver and the host load',
  { skip: withoutUml || withoutQemu },
  async (t) => {
    const aperture = Aperture.create({ sizeBytes: 1 << 20, participants: 2 });
    t.teardown(() => aperture.close());
    const { offset, buffer } = aperture.allocate(4096);
    const words = new Int32Array(buffer);
    const vms = await Promise.all(
      (['uml', 'qemu'] as const).map((driver) =>
        VirtualMachine.boot({ driver, name: `of-${driver}`, aperture: aperture.path }),
      ),
    );
    t.teardown(() => Promise.all(vms.map((vm) => vm.kill())));
    // Each waits for the other's round before its next, so they get on only if each sees the other's word.
    const turns = `
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    for (let round = 1; round <= 100; round += 1) {
      Atomics.store(words, mine, round);
      while (Atomics.load(words, theirs) < round) Atomics.wait(sleeper, 0, 0, 1);
    }
    console.log(Atomics.load(words, 100));
  `;
    Atomics.store(words, 100, 42);
    const results = await Promise.all(
      vms.map((vm, index) =>
        vm.exec(
          'node',
          [...program(turns), '--', offset, index * 16, (1 - index) * 16].map(String),
          { timeoutMs: 60_000 },
        ),
      ),
    );
    for (const result of results) t.match(result, { exitCode: 0, stdout: '42\n', stderr: '' });
    t.same([Atomics.load(words, 0), Atomics.load(words, 16)], [100, 100]);
    for (const vm of vms) {
      t.match(await vm.exec('test', ['-e', vm.apertureDoor]), { exitCode: 0 });
      await t.rejects(vm.snapshot('/no/such'), { code: 'ERR_VM_UNSUPPORTED' });
    }
  },
);

t.test('a machine that was given no aperture has none', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot();
  t.teardown(() => vm.kill());
  t.match(await vm.exec('test', ['-e', '/dev/mmapper']), { exitCode: 1 });
});
