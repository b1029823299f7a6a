/** What stands before a machine's state in a file or on a socket: what a machine must be to take it up. */
import { openSync, readSync, writeSync } from 'node:fs';

import type { MachineRequest, StartedMachine } from './drivers/driver.js';
import { VmError } from './errors.js';

/** The header has this size, whatever is in it; QEMU's stream follows. */
export const STATE_HEADER_BYTES = 4096;
const MAGIC = 'viaduct machine state\n';
const VERSION = 1;

/** A machine of the same kind: other values, and QEMU could not place what it reads. */
export interface MachineState {
  readonly version: typeof VERSION;
  readonly name: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly machineType: MachineRequest['machineType'];
  readonly accelerator: Exclude<StartedMachine['accelerator'], 'none'>;
  readonly network: boolean;
  readonly kernel: string;
}

export function encodeState(state: Omit<MachineState, 'version'>): Buffer {
  const header = Buffer.alloc(STATE_HEADER_BYTES);
  header.write(`${MAGIC}${JSON.stringify({ version: VERSION, ...state })}\n`);
  return header;
}

/** @throws VmError `ERR_VM_STATE_FILE` */
export function decodeState(header: Buffer, source: string, call: string): MachineState {
  const refuse = (why: string): VmError =>
    new VmError('ERR_VM_STATE_FILE', `${source} can't be restored: ${why}`, {
      call,
      operands: { source },
    });
  const text = header.toString('utf8').replace(/\0+$/, '');
  if (!text.startsWith(MAGIC)) throw refuse('it is no snapshot of a virtual machine');
  let state: Partial<MachineState>;
  try {
    state = JSON.parse(text.slice(MAGIC.length)) as Partial<MachineState>;
  } catch {
    throw refuse('its header is broken');
  }
  const { version, name, memoryBytes, vcpus, machineType, accelerator, network, kernel } = state;
  if (version !== VERSION) throw refuse(`it is of version ${version}, and this is ${VERSION}`);
  if (
    typeof name !== 'string' ||
    typeof memoryBytes !== 'number' ||
    typeof vcpus !== 'number' ||
    (machineType !== 'microvm' && machineType !== 'q35') ||
    (accelerator !== 'kvm' && accelerator !== 'tcg') ||
    typeof network !== 'boolean' ||
    typeof kernel !== 'string'
  ) {
    throw refuse('its header lacks something');
  }
  return { version, name, memoryBytes, vcpus, machineType, accelerator, network, kernel };
}

/** @throws VmError `ERR_VM_STATE_FILE` */
export function openSnapshot(path: string, flags: 'r' | 'wx', call: string): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new VmError('ERR_VM_STATE_FILE', `the snapshot ${path} can't be opened: ${message}`, {
      call,
      operands: { path },
      cause,
    });
  }
}

/** Reads the header, so that the descriptor stands where QEMU's stream begins. */
export function readState(descriptor: number, path: string, call: string): MachineState {
  const header = Buffer.alloc(STATE_HEADER_BYTES);
  let at = 0;
  for (let count = -1; count !== 0 && at < header.byteLength; at += count) {
    count = readSync(descriptor, header, at, header.byteLength - at, null);
  }
  return decodeState(header.subarray(0, at), path, call);
}

export function writeState(descriptor: number, header: Buffer): void {
  for (let at = 0; at < header.byteLength;) at += writeSync(descriptor, header, at);
}
