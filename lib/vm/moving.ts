/** How a machine's state leaves it: into a file, or to another process that takes the machine up. */
import { closeSync, rmSync } from 'node:fs';

import type { MachineRequest, Monitor, SaveResult } from './drivers/driver.js';
import { VmError } from './errors.js';
import type { Machine } from './machine.js';
import { encodeState, openSnapshot, writeState } from './machine-state.js';
import { MigrationTarget } from './migration.js';

export async function snapshot(
  machine: Machine,
  path: string,
  signal?: AbortSignal,
): Promise<SaveResult> {
  const call = 'vm.snapshot';
  const monitor = machine.monitorFor('snapshot', call);
  assertMovable(machine, call);
  const descriptor = openSnapshot(path, 'wx', call);
  const write = async (header: Buffer): Promise<SaveResult> => {
    writeState(descriptor, header);
    return monitor.saveState(descriptor, signal);
  };
  try {
    return await machine.tell(call, saving(machine, monitor, write), signal);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

export async function migrate(
  machine: Machine,
  path: string,
  signal?: AbortSignal,
): Promise<SaveResult> {
  const call = 'vm.migrate';
  machine.monitorFor('migrate', call);
  assertMovable(machine, call);
  const destination = await MigrationTarget.connect(path, machine.name);
  try {
    // It may have changed meanwhile.
    const monitor = machine.monitorFor('migrate', call);
    const write = async (header: Buffer): Promise<SaveResult> => {
      await destination.announce(header, signal);
      const result = await monitor.saveState(destination.descriptor, signal);
      // Whoever closes the socket before has given the machine up: it goes on here. Nothing else ends this wait, or
      // the machine could run in both places.
      await destination.arrived();
      await machine.leave(`it has migrated to ${path}`);
      return result;
    };
    return await machine.tell(call, saving(machine, monitor, write), signal);
  } finally {
    destination.close();
  }
}

/** Does `write` with nothing on its way to the agent; the machine is then as it was, unless it has ended. */
async function saving(
  machine: Machine,
  monitor: Monitor,
  write: (header: Buffer) => Promise<SaveResult>,
): Promise<SaveResult> {
  const before = machine.state === 'paused' ? 'paused' : 'running';
  machine.step('saving');
  try {
    // Half of a frame in the guest's memory would be continued by nobody. A paused agent rests already.
    if (before === 'running') await machine.agent.rest();
    return await write(headerOf(machine));
  } finally {
    if (isSaving(machine)) {
      // When its state is complete the machine is halted.
      if (before === 'running') await monitor.resume();
      machine.step(before);
      if (before === 'running') machine.agent.wake();
    }
  }
}

const isSaving = (machine: Machine): boolean => machine.state === 'saving';

function headerOf(machine: Machine): Buffer {
  const { name, memoryBytes, vcpus, machineType, networkDescriptor } = machine.request;
  return encodeState({
    name,
    memoryBytes,
    vcpus,
    machineType,
    accelerator: machine.started.accelerator === 'kvm' ? 'kvm' : 'tcg',
    network: networkDescriptor !== undefined,
    kernel: machine.kernel,
  });
}

function obstaclesOf({ programs, aperturePath, devices }: MachineRequest): string[] {
  return [
    ...(programs === undefined ? ['the host’s file system (boot it with programs)'] : []),
    ...(aperturePath === undefined ? [] : ['an aperture, whose memory others have as well']),
    ...(devices.length === 0 ? [] : ['devices of the host']),
  ];
}

/** @throws VmError `ERR_VM_UNSUPPORTED` for what QEMU can't put into a state */
function assertMovable(machine: Machine, call: string): void {
  const obstacles = obstaclesOf(machine.request);
  if (obstacles.length === 0) return;
  throw new VmError(
    'ERR_VM_UNSUPPORTED',
    `its state can't be taken away from this host: it has ${obstacles.join(' and ')}`,
    { vm: machine.name, call, operands: { obstacles } },
  );
}
