/**
 * Virtual machines: boot, run commands, stop. Sizes are in bytes, times in milliseconds.
 *
 * What goes wrong with a machine is a `VmError`, which names it and quotes the end of its console.
 *
 * @module viaduct/vm
 */
export { VmError, type VmErrorDetails } from './errors.js';
export {
  VirtualMachine,
  type BootOptions,
  type BootPhases,
  type ExecOptions,
  type ExecResult,
  type GuestMemory,
  type VmEvents,
  type VmExit,
} from './virtual-machine.js';
export { GuestProcess, type GuestExit, type SpawnOptions } from './guest-process.js';
export { VirtualLink, type LinkEnd } from './link.js';
export type { VmState } from './states.js';
