/** Virtual machines: boot, run commands, stop. */
export { VmError, type VmErrorDetails } from './errors.js';
export {
  VirtualMachine,
  type BootOptions,
  type BootPhases,
  type ExecOptions,
  type ExecResult,
} from './virtual-machine.js';
export { GuestProcess, type GuestExit, type SpawnOptions } from './guest-process.js';
export { VirtualLink, type LinkEnd } from './link.js';
export type { VmState } from './states.js';
