/** The states of a virtual machine and what may be done in each. */
import { VmError } from './errors.js';

/**
 * `booting` until its agent answers, then `running` until it is told to end; `stopping` while it powers off; `ended`
 * when nothing of it is left.
 */
export type VmState = 'booting' | 'running' | 'stopping' | 'ended';
export type VmAction = 'exec' | 'configure the network' | 'read its memory' | 'stop' | 'kill';

/** Stop and kill are harmless when they come late: they are what clean-up calls. */
const legalActions: Readonly<Record<VmState, readonly VmAction[]>> = {
  booting: ['kill'],
  running: ['exec', 'configure the network', 'read its memory', 'stop', 'kill'],
  stopping: ['stop', 'kill'],
  ended: ['stop', 'kill'],
};

const nextStates: Readonly<Record<VmState, readonly VmState[]>> = {
  booting: ['running', 'ended'],
  running: ['stopping', 'ended'],
  stopping: ['ended'],
  ended: [],
};

export function isLegal(state: VmState, action: VmAction): boolean {
  return legalActions[state].includes(action);
}

/** @throws VmError `ERR_VM_STATE` for a step that no machine takes. */
export function assertStep(vm: string, from: VmState, to: VmState): void {
  if (nextStates[from].includes(to)) return;
  throw new VmError('ERR_VM_STATE', `it is ${from} and can't become ${to}`, { vm });
}
