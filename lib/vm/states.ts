/** The states of a virtual machine, what may be done in each, and what a driver can't do in any. */
import { VmError } from './errors.js';

/** User-Mode Linux, or QEMU. */
export type DriverName = 'uml' | 'qemu';
/**
 * `booting` until its agent answers, then `running` until it is told to end; `paused` between `pause` and `resume`;
 * `saving` while its state is written or moves; `stopping` while it powers off; `ended` when nothing of it is left.
 */
export type VmState = 'booting' | 'running' | 'paused' | 'saving' | 'stopping' | 'ended';
export type VmAction =
  | 'exec'
  | 'copy files'
  | 'configure the network'
  | 'read its memory'
  | 'be measured'
  | 'resize its memory'
  | 'pause'
  | 'resume'
  | 'snapshot'
  | 'restore'
  | 'migrate'
  | 'stop'
  | 'kill';

/** Stop and kill are harmless when they come late: they are what clean-up calls. */
const always = ['be measured', 'stop', 'kill'] as const;

const legalActions: Readonly<Record<VmState, readonly VmAction[]>> = {
  booting: ['restore', ...always],
  running: [
    ...['exec', 'copy files', 'configure the network', 'read its memory'],
    ...['resize its memory', 'pause', 'snapshot', 'migrate'],
    ...always,
  ] as const,
  paused: ['resume', 'snapshot', 'migrate', ...always],
  saving: always,
  stopping: always,
  ended: ['stop', 'kill'],
};

const nextStates: Readonly<Record<VmState, readonly VmState[]>> = {
  booting: ['running', 'ended'],
  running: ['paused', 'saving', 'stopping', 'ended'],
  paused: ['running', 'saving', 'stopping', 'ended'],
  saving: ['running', 'paused', 'ended'],
  stopping: ['ended'],
  ended: [],
};

const NO_MONITOR = 'User-Mode Linux is a program like others, whose state no monitor can';

/** What a driver can't do, and why. */
const inabilities: Readonly<Record<DriverName, Partial<Record<VmAction, string>>>> = {
  uml: {
    pause: `${NO_MONITOR} halt as a whole`,
    resume: `${NO_MONITOR} halt as a whole`,
    snapshot: `${NO_MONITOR} write down`,
    restore: `${NO_MONITOR} write down`,
    migrate: `${NO_MONITOR} write down`,
    'resize its memory': 'User-Mode Linux has no balloon',
  },
  qemu: {},
};

export function isLegal(state: VmState, action: VmAction): boolean {
  return legalActions[state].includes(action);
}

/** @throws VmError `ERR_VM_UNSUPPORTED` for what a machine of this driver can do in no state. */
export function assertAble(driver: DriverName, action: VmAction, call: string, vm?: string): void {
  const why = inabilities[driver][action];
  if (why === undefined) return;
  throw new VmError(
    'ERR_VM_UNSUPPORTED',
    `a machine of driver ${driver} can't ${action}: ${why}; one of driver qemu can`,
    { call, operands: { driver, action }, ...(vm === undefined ? {} : { vm }) },
  );
}

/** @throws VmError `ERR_VM_STATE` for a step that no machine takes. */
export function assertStep(vm: string, from: VmState, to: VmState): void {
  if (nextStates[from].includes(to)) return;
  throw new VmError('ERR_VM_STATE', `it is ${from} and can't become ${to}`, { vm });
}
