/** What a monitor does with a machine: pause, memory, snapshot, restore, migration. All from one boot. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, truncateSync } from 'node:fs';

import t from 'tap';

import { VirtualMachine, type GuestProcess } from '../../lib/vm/index.js';
import { survivors, treeOf } from '../process-tree.js';
import { withoutQemu } from '../qemu-installed.js';

t.setTimeout(120_000);

const MIB = 2 ** 20;
const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done';

/** The next number that a counter says. */
function nextNumber(counter: GuestProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    counter.stdout.once('data', (chunk: Buffer) => resolve(Number.parseInt(String(chunk), 10)));
    counter.exited.catch(reject);
  });
}

t.test('a machine and its state', { skip: withoutQemu }, async (t) => {
  const folder = t.testdir({});
  const vm = await VirtualMachine.boot({
    driver: 'qemu',
    name: 'mover',
    memoryBytes: 128 * MIB,
    programs: ['sh', 'sleep', 'cat', 'hostname'],
  });
  t.teardown(() => vm.kill());

  await t.test('it has the programs that were chosen, and nothing of the host', async (t) => {
    t.match(await vm.exec('hostname'), { exitCode: 0, stdout: 'mover\n' });
    await t.rejects(vm.exec('ls'), { code: 'ERR_VM_EXEC', message: /exec: ENOENT/ });
  });

  await t.test('paused, it does nothing; resumed, it goes on', async (t) => {
    const counter = vm.spawn('sh', ['-c', COUNTER]);
    await nextNumber(counter);
    await vm.pause();
    t.equal(vm.state, 'paused');
    t.throws(() => vm.spawn('cat'), { code: 'ERR_VM_STATE', message: /paused and can't exec/ });
    await t.rejects(vm.pause(), { code: 'ERR_VM_STATE' });
    const { cpuMs, guestMemory } = await vm.stats();
    t.equal(guestMemory, undefined);
    t.ok(cpuMs > 0);
    await vm.snapshot(`${folder}/paused`);
    t.equal(vm.state, 'paused');
    await vm.resume();
    t.equal(vm.state, 'running');
    await nextNumber(counter);
    counter.kill('SIGKILL');
    t.match(await counter.exited, { signal: 'SIGKILL' });
  });

  await t.test('memory is taken from it and given back', async (t) => {
    const before = await vm.memory();
    t.equal(await vm.resizeMemory(100 * MIB), 100 * MIB);
    const between = await vm.memory();
    t.equal(before.totalBytes - between.totalBytes, 28 * MIB);
    t.equal(await vm.resizeMemory(128 * MIB), 128 * MIB);
    t.equal((await vm.memory()).totalBytes, before.totalBytes);
    await t.rejects(vm.resizeMemory(129 * MIB), { code: 'ERR_VM_ARGUMENT' });
  });

  const counter = vm.spawn('sh', ['-c', COUNTER]);
  await counter.started;
  const reader = vm.spawn('cat');
  reader.stdin.write('before, ');
  counter.exited.catch(() => {});
  reader.exited.catch(() => {});
  const file = `${folder}/snapshot`;

  await t.test('a snapshot is taken, and the machine runs on', async (t) => {
    const { downtimeMs, transferredBytes } = await vm.snapshot(file);
    t.ok(downtimeMs >= 0 && transferredBytes > MIB);
    t.ok(statSync(file).size > transferredBytes / 2);
    t.equal(statSync(file).mode & 0o777, 0o600);
    t.equal(vm.state, 'running');
    await nextNumber(counter);
    await t.rejects(vm.snapshot(file), { code: 'ERR_VM_STATE_FILE', message: /EEXIST/ });
  });

  await t.test('a snapshot that can’t be written leaves the machine as it was', async (t) => {
    const full = `${folder}/full`;
    mkdirSync(full);
    const options = ['-t', 'tmpfs', '-o', 'size=1m', 'none', full];
    if (spawnSync('mount', options).status !== 0) {
      t.comment('skipped: a small file system can’t be mounted without root');
      return;
    }
    t.teardown(() => spawnSync('umount', [full]));
    await t.rejects(vm.snapshot(`${full}/snapshot`), {
      code: 'ERR_VM_MONITOR',
      message: /No space left on device/,
    });
    t.same(readdirSync(full), []);
    t.equal(vm.state, 'running');
    await nextNumber(counter);
  });

  await t.test('a restored machine goes on with its commands', async (t) => {
    const copy = await VirtualMachine.restore(file, { name: 'copy' });
    t.teardown(() => copy.kill());
    t.match(await copy.exec('hostname'), { stdout: 'copy\n' });
    const [counted, read] = copy.processes;
    if (counted === undefined || read === undefined) throw new Error('its commands are lost');
    const number = await nextNumber(counted);
    t.ok(number > 0, `${number}`);
    const chunks: Buffer[] = [];
    read.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    read.stdin.end('after');
    t.match(await read.exited, { exitCode: 0 });
    t.match(String(Buffer.concat(chunks)), /after$/);
    t.match(await copy.stop({ graceMs: 200 }), { error: undefined });
  });

  await t.test('what is no snapshot, or half of one, is refused', async (t) => {
    await t.rejects(VirtualMachine.restore(process.execPath), {
      code: 'ERR_VM_STATE_FILE',
      message: /no snapshot of a virtual machine/,
    });
    await t.rejects(VirtualMachine.restore(`${folder}/none`), { code: 'ERR_VM_STATE_FILE' });
    truncateSync(file, 3 * MIB);
    await t.rejects(VirtualMachine.restore(file, { name: 'half' }), {
      code: 'ERR_VM_BOOT',
      message: /VM half: .*[^]*load of migration failed/,
    });
  });

  await t.test('a migration to nobody leaves the machine where it is', async (t) => {
    await t.rejects(vm.migrate(`${folder}/nobody`), {
      code: 'ERR_VM_MIGRATION',
      message: /VM mover: nobody waits for it/,
    });
    const socket = `${folder}/picky`;
    const network = { descriptor: 2 };
    const receiving = VirtualMachine.receive(socket, { network }).catch((error: unknown) => error);
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
    await t.rejects(vm.migrate(socket), {
      code: 'ERR_VM_MIGRATION',
      message: /network must be left out/,
    });
    t.match(await receiving, { code: 'ERR_VM_ARGUMENT' });
    t.equal(vm.state, 'running');
    await nextNumber(counter);
  });

  await t.test('a machine migrates while its commands run', async (t) => {
    const socket = `${folder}/migration`;
    const here = treeOf(vm.guardPid);
    const receiving = VirtualMachine.receive(socket);
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
    const last = await nextNumber(counter);
    const { downtimeMs } = await vm.migrate(socket);
    t.ok(downtimeMs >= 0);
    const moved = await receiving;
    t.teardown(() => moved.kill());
    t.equal(vm.state, 'ended');
    t.same(await survivors(here), []);
    await t.rejects(counter.exited, { code: 'ERR_VM_MIGRATED' });
    t.throws(() => vm.spawn('cat'), { code: 'ERR_VM_ENDED' });
    t.equal(moved.name, 'mover');
    const [counted] = moved.processes;
    if (counted === undefined) throw new Error('its commands are lost');
    const next = await nextNumber(counted);
    t.ok(next > last, `${last} before, ${next} after`);
    t.notOk(existsSync(socket));
    t.match(await moved.stop({ graceMs: 200 }), { exitCode: 0, error: undefined });
  });
});
