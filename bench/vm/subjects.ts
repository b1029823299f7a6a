/** What is measured of virtual machines, once a round: boots, memory, moves, and what the kernel costs in them. */
import { execFile } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { VirtualMachine, VmError, type DriverName } from '../../lib/vm/index.js';
import { openInitramfs } from '../../lib/vm/initramfs.js';
import { programMembers } from '../../lib/vm/programs.js';
import { compileProgram } from '../compile.js';

const execute = promisify(execFile);

/** Milliseconds, bytes or nanoseconds, by what was measured. */
export type Figures = Record<string, number>;

/** Small, as machines made for one job are; QEMU's kernel takes less than half of it. */
const MEMORY_BYTES = 128 * 2 ** 20;
const SAMPLES = 5;

/** Linked statically, so that a guest needs nothing beside it. */
export function compileCosts(): Promise<string> {
  return compileProgram('vm', 'costs', ['-static']);
}

function samplesIn(text: string): { systemCall: number; pageFault: number }[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { systemCall: number; pageFault: number });
}

const least = (values: readonly number[]): number => Math.min(...values);

/** The least of the samples: what disturbs a sample only ever adds. */
function costsIn(where: string, text: string): Figures {
  const samples = samplesIn(text);
  return {
    [`${where} systemCall`]: least(samples.map(({ systemCall }) => systemCall)),
    [`${where} pageFault`]: least(samples.map(({ pageFault }) => pageFault)),
  };
}

export async function measureNative(costs: string): Promise<Figures> {
  const { stdout } = await execute(costs, [String(SAMPLES)]);
  return costsIn('native', stdout);
}

/** What the machine's program was given to boot: the sizes of kernel and initramfs together. */
async function imageBytes(vm: VirtualMachine, costs: string): Promise<number> {
  for (const pid of await processesBelow(vm.guardPid)) {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    // The guard has the machine's command line in its own, but not its files.
    if (words[0]?.endsWith('viaduct-guard')) continue;
    if (words.some((word) => word.startsWith('initrd='))) {
      // User-Mode Linux is the kernel itself, and closes the initramfs once it has read it.
      const initramfs = openInitramfs({ members: await programMembers([costs]) });
      try {
        return (await stat(`/proc/${pid}/exe`)).size + fstatSync(initramfs).size;
      } finally {
        closeSync(initramfs);
      }
    }
    const [kernel, initramfs] = ['-kernel', '-initrd'].map(
      (option) => words.at(words.indexOf(option) + 1) ?? '',
    );
    if (!words.includes('-kernel') || kernel === undefined || initramfs === undefined) continue;
    const files = [kernel, initramfs].map((path) => path.replace('/self/', `/${pid}/`));
    const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
    return sizes.reduce((sum, size) => sum + size, 0);
  }
  return NaN;
}

async function processesBelow(root: number): Promise<number[]> {
  const found = [root];
  const children = async (pid: number): Promise<string> => {
    const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
    const lists = tasks.map((task) =>
      readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => ''),
    );
    return (await Promise.all(lists)).join(' ');
  };
  for (const pid of found) {
    const below = (await children(pid)).split(/\s+/).filter((word) => word !== '');
    found.push(...below.map(Number));
  }
  return found;
}

/** One machine from boot to end. */
export async function measureMachine(
  driver: DriverName,
  costs: string,
  signal: AbortSignal,
): Promise<Figures> {
  const vm = await VirtualMachine.boot({
    driver,
    memoryBytes: MEMORY_BYTES,
    programs: [costs],
    timeoutMs: 120_000,
    signal,
  });
  try {
    const { residentBytes, guestMemory } = await vm.stats();
    const { stdout } = await vm.exec(costs, [String(SAMPLES)], { signal });
    return {
      [`${driver} bootMs`]: vm.bootPhases.agentMs,
      [`${driver} residentBytes`]: residentBytes,
      [`${driver} usedBytes`]:
        guestMemory === undefined ? NaN : guestMemory.totalBytes - guestMemory.freeBytes,
      [`${driver} imageBytes`]: await imageBytes(vm, costs),
      ...costsIn(driver, stdout),
      ...(driver === 'qemu' ? await measureMoves(vm, signal) : {}),
    };
  } finally {
    await vm.kill();
  }
}

/** Snapshot, restore and migration of a running machine. */
async function measureMoves(vm: VirtualMachine, signal: AbortSignal): Promise<Figures> {
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-bench-'));
  const file = join(folder, 'snapshot');
  const socket = join(folder, 'socket');
  try {
    let started = performance.now();
    const saved = await vm.snapshot(file, { signal });
    const snapshotMs = performance.now() - started;

    started = performance.now();
    const copy = await VirtualMachine.restore(file, { name: 'copy', signal });
    const restoreMs = performance.now() - started;
    await copy.kill();

    const arriving = VirtualMachine.receive(socket, { name: 'moved', signal });
    started = performance.now();
    const moved = await migrateWhenAwaited(vm, socket, signal);
    const destination = await arriving;
    const migrationMs = performance.now() - started;
    await destination.kill();
    return {
      'qemu snapshotMs': snapshotMs,
      'qemu snapshotBytes': saved.transferredBytes,
      'qemu restoreMs': restoreMs,
      'qemu migrationMs': migrationMs,
      'qemu downtimeMs': moved.downtimeMs,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function migrateWhenAwaited(
  vm: VirtualMachine,
  socket: string,
  signal: AbortSignal,
): Promise<{ downtimeMs: number }> {
  // The other side listens a turn of the loop after it was asked to.
  await new Promise((resolve) => setImmediate(resolve));
  return vm.migrate(socket, { signal });
}

/** Why a driver can't be measured here, or undefined. */
export function absence(error: unknown): string | undefined {
  return error instanceof VmError && error.code === 'ERR_VM_DRIVER' ? error.message : undefined;
}
