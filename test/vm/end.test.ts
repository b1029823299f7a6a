/** How machines end, wanted or not: their users learn why, and nothing is left. */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { VirtualMachine } from '../../lib/vm/index.js';
import { withoutUml } from '../uml-installed.js';
import { survivors, treeOf } from '../process-tree.js';

t.setTimeout(120_000);

/** UML's kernel: the process whose parent is the keeper. */
function kernelOf(vm: VirtualMachine): number {
  const kernel = treeOf(vm.guardPid).find(({ command }) => command.startsWith('linux'));
  if (kernel === undefined) throw new Error('no kernel below the guard');
  return kernel.pid;
}

function keeperOf(vm: VirtualMachine): number {
  const [, keeper] = treeOf(vm.guardPid);
  if (keeper === undefined) throw new Error('no keeper below the guard');
  return keeper.pid;
}

const leftovers = (): string[] =>
  readdirSync('/dev/shm').filter((name) => name.startsWith('viaduct-uml'));

const killings = [
  ['the guard', (vm: VirtualMachine) => vm.guardPid],
  ['the guard’s keeper', keeperOf],
  ['the kernel', kernelOf],
] as const;

for (const [what, find] of killings) {
  t.test(
    `SIGKILL of ${what} leaves nothing and fails what runs`,
    { skip: withoutUml },
    async (t) => {
      const vm = await VirtualMachine.boot({ name: 'victim' });
      const tree = treeOf(vm.guardPid);
      t.ok(tree.length > 2);
      const running = vm.exec('sleep', ['1000']);
      process.kill(find(vm), 'SIGKILL');
      await t.rejects(running, { code: 'ERR_VM_ENDED', message: /VM victim: .*SIGKILL/ });
      t.match(await vm.ended, { signal: 'SIGKILL', error: { code: 'ERR_VM_ENDED' } });
      t.same(await survivors(tree), []);
      t.same(leftovers(), []);
    },
  );
}

t.test('SIGKILL of the owner leaves nothing', { skip: withoutUml }, async (t) => {
  const program = fileURLToPath(new URL('programs/owner.js', import.meta.url));
  const owner = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const guard = await new Promise<number>((resolve) => {
    owner.stdout.once('data', (text) => resolve(Number(text)));
  });
  const tree = treeOf(guard);
  t.ok(tree.length > 2);
  owner.kill('SIGKILL');
  t.same(await survivors(tree), []);
  t.same(leftovers(), []);
});

t.test('a stopped machine is gone when stop resolves', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot();
  const tree = treeOf(vm.guardPid);
  const script = 'trap "echo asked; exit 5" TERM; echo up; while :; do sleep 0.1; done';
  const running = vm.spawn('sh', ['-c', script]);
  await new Promise((resolve) => running.stdout.once('data', resolve));
  const stopped = vm.stop();
  t.equal(vm.state, 'stopping');
  t.throws(() => vm.spawn('true'), { code: 'ERR_VM_STATE', message: /stopping and can't exec/ });
  t.match(await running.exited, { exitCode: 5 }, 'its processes were asked to end');
  t.match(await stopped, { exitCode: 0, error: undefined });
  t.same(await survivors(tree), []);
});

t.test('stop does not wait for processes that will not end', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot();
  const stubborn = vm.spawn('sh', ['-c', 'trap "" TERM; echo up; while :; do sleep 1; done']);
  await new Promise((resolve) => stubborn.stdout.once('data', resolve));
  t.match(await vm.stop({ graceMs: 100 }), { error: undefined });
});

t.test('kill ends a machine that does nothing any more', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot({ silenceTimeoutMs: 600 });
  const tree = treeOf(vm.guardPid);
  process.kill(kernelOf(vm), 'SIGSTOP');
  await vm.kill();
  t.same(await survivors(tree), []);
});

t.test(
  'a machine that is silent is killed and the error says so',
  { skip: withoutUml },
  async (t) => {
    const vm = await VirtualMachine.boot({ name: 'mute', silenceTimeoutMs: 1000 });
    const tree = treeOf(vm.guardPid);
    const running = vm.exec('sleep', ['1000']);
    process.kill(kernelOf(vm), 'SIGSTOP');
    await t.rejects(running, { code: 'ERR_VM_SILENT', message: /VM mute: .*1000 ms/ });
    t.same(await survivors(tree), []);
  },
);

t.test('a kernel that panics later on fails what runs', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot({ name: 'frail' });
  const tree = treeOf(vm.guardPid);
  const panics: string[] = [];
  vm.on('panic', (reason) => panics.push(reason));
  // Without the agent, which is the first process, a kernel can't go on.
  const running = vm.exec('sh', ['-c', 'kill -SEGV 1; echo c > /proc/sysrq-trigger; sleep 1000']);
  await t.rejects(running, { code: 'ERR_VM_PANIC', message: /VM frail: its kernel panicked/ });
  t.equal(panics.length, 1);
  t.same(await survivors(tree), []);
});
