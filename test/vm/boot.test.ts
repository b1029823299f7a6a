/** Booting that fails: what is said, and that nothing is left. */
import { existsSync, readdirSync } from 'node:fs';

import t from 'tap';

import { VirtualMachine, type BootOptions } from '../../lib/vm/index.js';
import { withoutUml } from '../uml-installed.js';
import { survivors, treeOf } from '../process-tree.js';
import { insteadOfUml } from './false-machine.js';

t.setTimeout(120_000);

t.test('without linux.uml the error names the package that has it', async (t) => {
  const path = process.env['PATH'];
  t.teardown(() => {
    process.env['PATH'] = path;
  });
  process.env['PATH'] = t.testdir({});
  await t.rejects(VirtualMachine.boot({ name: 'a' }), {
    code: 'ERR_VM_DRIVER',
    vm: 'a',
    message: /linux\.uml is not in PATH .*apt-get install user-mode-linux/,
  });
});

t.test('options that can’t be are refused before anything starts', async (t) => {
  const wrong: readonly BootOptions[] = [
    { name: '' },
    { name: 'a b' },
    { memoryBytes: 1 << 20 },
    { memoryBytes: Number.NaN },
    { cpu: -1 },
    { cpu: 0.5 },
    { timeoutMs: 0 },
    { silenceTimeoutMs: Number.NaN },
    { address: '10.0.0.1/24' },
    { aperture: '/no/such/file' },
  ];
  for (const options of wrong) {
    await t.rejects(VirtualMachine.boot(options), { code: 'ERR_VM_ARGUMENT' });
  }
  const other = { driver: 'vax' } as unknown as BootOptions;
  await t.rejects(VirtualMachine.boot(other), {
    code: 'ERR_VM_DRIVER',
    message: /uml or qemu, not vax/,
  });
});

t.test('an AbortSignal that has aborted starts nothing', async (t) => {
  const signal = AbortSignal.abort(new Error('never mind'));
  await t.rejects(VirtualMachine.boot({ signal }), { message: 'never mind' });
});

t.test('an AbortSignal ends booting', async (t) => {
  insteadOfUml(t, 'exec sleep 1000');
  const controller = new AbortController();
  const booting = VirtualMachine.boot({ signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await t.rejects(booting, { message: 'enough' });
});

t.test('a machine whose agent never answers is given up in time', async (t) => {
  insteadOfUml(t, 'echo loading; sleep 1000 & sleep 1000');
  await t.rejects(VirtualMachine.boot({ name: 'slow', timeoutMs: 500 }), {
    code: 'ERR_VM_BOOT_TIMEOUT',
    message: /VM slow: .* 500 ms.*\n.*\n {2}\| loading/,
    consoleTail: 'loading',
  });
});

t.test('a machine that ends at once gives its last words', async (t) => {
  insteadOfUml(t, 'echo no memory >&2; exit 4');
  await t.rejects(VirtualMachine.boot(), {
    code: 'ERR_VM_BOOT',
    message: /before its agent answered \(exit status 4\)[^]*\| no memory/,
  });
});

t.test('garbage on the control channel is the machine’s failure', async (t) => {
  insteadOfUml(t, 'head -c 100000 /dev/urandom >&3; sleep 1000');
  await t.rejects(VirtualMachine.boot({ name: 'mad' }), { code: 'ERR_VM_PROTOCOL', vm: 'mad' });
});

t.test('a processor that is not there', async (t) => {
  insteadOfUml(t, 'exit 0');
  await t.rejects(VirtualMachine.boot({ cpu: 1000 }), {
    code: 'ERR_VM_BOOT',
    message: /--cpu 1000/,
  });
});

t.test('a kernel that finds no initramfs panics, and says so', { skip: withoutUml }, async (t) => {
  insteadOfUml(
    t,
    'for a; do shift; case $a in initrd=*);; *) set -- "$@" "$a";; esac; done; exec "$UML" "$@"',
  );
  await t.rejects(VirtualMachine.boot({ name: 'empty' }), {
    code: 'ERR_VM_PANIC',
    message: /VM empty: its kernel panicked: .*root fs/,
    consoleTail: /Kernel panic/,
  });
});

t.test('nothing in the host’s /dev/shm while a machine runs', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot();
  t.ok(existsSync(`/proc/${vm.guardPid}`));
  t.same(
    readdirSync('/dev/shm').filter((name) => name.startsWith('viaduct-uml')),
    [],
  );
  await vm.stop();
});

t.test(
  'a machine with chosen programs has nothing of the host',
  { skip: withoutUml },
  async (t) => {
    const vm = await VirtualMachine.boot({
      name: 'bare',
      programs: ['hostname', process.execPath],
    });
    t.teardown(() => vm.kill());
    t.match(await vm.exec('hostname'), { exitCode: 0, stdout: 'bare\n' });
    const script = 'console.log(fs.readdirSync("/"), fs.existsSync("/host"))';
    const { stdout } = await vm.exec(process.execPath, ['-e', script]);
    t.match(stdout, /'init'[^]*false/);
    await t.rejects(vm.exec('sh'), { code: 'ERR_VM_EXEC', message: /exec: ENOENT/ });
  },
);

t.test('of all these machines nothing is left', async (t) => {
  t.same(await survivors(treeOf(process.pid).filter(({ pid }) => pid !== process.pid)), []);
});
