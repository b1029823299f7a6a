/**
 * Virtual machines: boot, run commands, copy files, move, stop. Sizes are in bytes, times in milliseconds.
 *
 * What goes wrong with a machine is a `VmError`, which names it and quotes the end of its console.
 *
 * @module viaduct/vm
 */
export { VmError, type VmErrorDetails } from './errors.js';
export {
  VirtualMachine,
  type BootPhases,
  type ExecOptions,
  type ExecResult,
  type RestoreOptions,
  type VmEvents,
  type VmExit,
} from './virtual-machine.js';
export type { BootOptions } from './boot-options.js';
export type { CopyOptions } from './copy.js';
export type { SaveResult, VmDevice } from './drivers/driver.js';
export type { GuestKernel } from './kernel/debian-kernel.js';
export type { GuestMemory, VmStatistics } from './statistics.js';
export { type GuestPort } from './guest-port.js';
export { GuestProcess, type GuestExit, type SpawnOptions } from './guest-process.js';
export { VirtualLink, type LinkEnd, type LinkOptions } from './link.js';
export type { DriverName, VmState } from './states.js';
export { NamedMachine, type ArrivalOptions, type RemoteStreams } from './keeper/named-machine.js';
export type { ExecRequest, KeptBootOptions, MachineStatus } from './keeper/messages.js';
export * from './passthrough/index.js';
