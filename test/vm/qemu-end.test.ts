/** QEMU machines that can't boot or end in disorder: what is said, and that nothing is left. */
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { VirtualMachine, type BootOptions } from '../../lib/vm/index.js';
import { debianKernel } from '../../lib/vm/kernel/debian-kernel.js';
import { survivors, treeOf } from '../process-tree.js';
import { withoutQemu } from '../qemu-installed.js';
import { insteadOfQemu } from './false-machine.js';

t.setTimeout(120_000);

const small = { driver: 'qemu', programs: ['sh', 'sleep'], memoryBytes: 128 * 2 ** 20 } as const;

t.test('without QEMU the error names the package that has it', async (t) => {
  const path = process.env['PATH'];
  t.teardown(() => {
    process.env['PATH'] = path;
  });
  process.env['PATH'] = t.testdir({});
  const skip = process.arch !== 'x64';
  if (skip) t.comment('on this processor the error is about that');
  await t.rejects(VirtualMachine.boot(small), {
    code: 'ERR_VM_DRIVER',
    message: skip ? /x86-64/ : /apt-get install qemu-system-x86`/,
  });
});

t.test('options that can’t be are refused', async (t) => {
  const wrong: readonly BootOptions[] = [
    { driver: 'qemu', memoryBytes: 64 * 2 ** 20 },
    { driver: 'qemu', vcpus: 0 },
    { driver: 'uml', vcpus: 2 },
    { driver: 'uml', accelerator: 'tcg' },
    { driver: 'uml', devices: [] },
    { driver: 'qemu', programs: [''] },
  ];
  for (const options of wrong) {
    await t.rejects(VirtualMachine.boot(options), { code: 'ERR_VM_ARGUMENT' });
  }
});

t.test('with QEMU', { skip: withoutQemu }, async (t) => {
  await t.test('a kernel that is none is refused before QEMU runs', async (t) => {
    insteadOfQemu(t, 'echo started >&2; exit 9');
    const { modules } = await debianKernel();
    for (const content of ['', 'no kernel', '\0'.repeat(0x202) + 'HdrS' + '\0'.repeat(1000)]) {
      const image = `${t.testdir({ kernel: content })}/kernel`;
      await t.rejects(
        VirtualMachine.boot({ ...small, accelerator: 'tcg', kernel: { image, modules } }),
        { code: 'ERR_VM_KERNEL', message: /kernel can't be used/ },
      );
    }
  });

  await t.test('modules and programs that are not there are named', async (t) => {
    await t.rejects(VirtualMachine.boot({ ...small, modules: ['warp_drive'] }), {
      code: 'ERR_VM_KERNEL',
      message: /no module warp_drive/,
    });
    await t.rejects(VirtualMachine.boot({ ...small, programs: ['no-such-program'] }), {
      code: 'ERR_VM_ARGUMENT',
      message: /no-such-program/,
    });
  });

  await t.test('a cache that can’t be written is named', async (t) => {
    const cache = process.env['XDG_CACHE_HOME'];
    t.teardown(() => {
      if (cache === undefined) delete process.env['XDG_CACHE_HOME'];
      else process.env['XDG_CACHE_HOME'] = cache;
    });
    process.env['XDG_CACHE_HOME'] = `${t.testdir({ file: '' })}/file`;
    await t.rejects(VirtualMachine.boot(small), {
      code: 'ERR_VM_CACHE',
      message: /XDG_CACHE_HOME/,
    });
  });

  await t.test('where KVM does not work, who asks for it learns why', async (t) => {
    const kernel = await debianKernel();
    insteadOfQemu(t, 'echo this host has no KVM >&2; exit 1');
    const cache = process.env['XDG_CACHE_HOME'];
    process.env['XDG_CACHE_HOME'] = t.testdirName;
    t.teardown(() => {
      if (cache === undefined) delete process.env['XDG_CACHE_HOME'];
      else process.env['XDG_CACHE_HOME'] = cache;
    });
    const options = { ...small, kernel, accelerator: 'kvm' } as const;
    for (let round = 0; round < 2; round += 1) {
      await t.rejects(VirtualMachine.boot(options), {
        code: 'ERR_VM_DRIVER',
        message: existsSync('/dev/kvm') ? /KVM does not work here \(this host/ : /\/dev\/kvm/,
      });
    }
  });

  await t.test('garbage on the control channel is the machine’s failure', async (t) => {
    insteadOfQemu(t, 'head -c 100000 /dev/urandom >&3; sleep 1000');
    await t.rejects(VirtualMachine.boot({ ...small, accelerator: 'tcg' }), {
      code: 'ERR_VM_PROTOCOL',
    });
  });

  await t.test('garbage on the monitor fails what needs the monitor', async (t) => {
    // The other end may be closed at the first garbage: writing on must not end the script.
    const babble = 'trap "" PIPE; head -c 100000 /dev/urandom >&4; echo >&4';
    insteadOfQemu(t, `${babble}; echo gone >&2; sleep 1; exit 3`);
    const file = `${t.testdirName}/snapshot`;
    const header = Buffer.alloc(4096);
    const state = { version: 1, name: 'mad', memoryBytes: 2 ** 27, vcpus: 1, network: false };
    const more = { machineType: 'microvm', accelerator: 'tcg', kernel: '' };
    header.write(`viaduct machine state\n${JSON.stringify({ ...state, ...more })}\n`);
    writeFileSync(file, header);
    await t.rejects(VirtualMachine.restore(file), {
      code: 'ERR_VM_BOOT',
      message: /exit status 3[^]*\| gone/,
    });
  });

  await t.test('a killed QEMU fails what runs', async (t) => {
    const vm = await VirtualMachine.boot({ ...small, name: 'victim' });
    const tree = treeOf(vm.guardPid);
    const running = vm.exec('sleep', ['1000']);
    const pausing = vm.pause().then(() => vm.resume());
    await pausing;
    const program = tree.find(({ command }) => command.startsWith('qemu'));
    if (program === undefined) throw new Error('no QEMU below the guard');
    process.kill(program.pid, 'SIGKILL');
    await t.rejects(running, { code: 'ERR_VM_ENDED', message: /VM victim: .*SIGKILL/ });
    await t.rejects(vm.pause(), { code: 'ERR_VM_ENDED' });
    t.same(await survivors(tree), []);
  });

  await t.test('a guest’s panic is told with what led to it', async (t) => {
    const vm = await VirtualMachine.boot({ ...small, name: 'frail' });
    const tree = treeOf(vm.guardPid);
    const panics: string[] = [];
    vm.on('panic', (reason) => panics.push(reason));
    const script = 'echo c > /proc/sysrq-trigger; sleep 1000';
    await t.rejects(vm.exec('sh', ['-c', script]), {
      code: 'ERR_VM_PANIC',
      message: /VM frail: its kernel panicked/,
      consoleTail: /Kernel panic/,
    });
    t.equal(panics.length, 1);
    t.same(await survivors(tree), []);
  });

  await t.test('SIGKILL of the owner leaves nothing', async (t) => {
    const program = fileURLToPath(new URL('programs/owner.js', import.meta.url));
    const owner = spawn(process.execPath, [program, 'qemu'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const guard = await new Promise<number>((resolve) => {
      owner.stdout.once('data', (text) => resolve(Number(text)));
    });
    const tree = treeOf(guard);
    t.ok(tree.length > 2);
    owner.kill('SIGKILL');
    t.same(await survivors(tree), []);
  });
});

t.test('of all these machines nothing is left', async (t) => {
  t.same(await survivors(treeOf(process.pid).filter(({ pid }) => pid !== process.pid)), []);
});
