/** What a driver does: it starts the program that is a virtual machine, and names its channels. */
import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';

import type { GuestKernel } from '../kernel/debian-kernel.js';
import type { DriverName } from '../states.js';

/** A device of the host, or an emulated one, that a machine is given beyond the usual ones. */
export interface VmDevice {
  /** What the command line of `qemu-system-x86_64` says of it, such as `['-device', 'nvme,…']`. */
  readonly qemuArguments: readonly string[];
  /** Modules of the guest's kernel that drive it. */
  readonly modules?: readonly string[];
}

/** A machine as the user asked for it, checked. */
export interface MachineRequest {
  readonly name: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  /** The processor that all its threads run on. */
  readonly cpu: number | undefined;
  /** What another process opens to map the aperture. */
  readonly aperturePath: string | undefined;
  /** The machine's end of a link, an open socket of Ethernet frames. */
  readonly networkDescriptor: number | undefined;
  /** Programs of the host that the guest has in its memory; undefined: it has the host's files. */
  readonly programs: readonly string[] | undefined;
  readonly accelerator: 'kvm' | 'tcg' | 'auto';
  readonly machineType: 'microvm' | 'q35';
  readonly kernel: GuestKernel | undefined;
  readonly modules: readonly string[];
  readonly devices: readonly VmDevice[];
  /** An open file or socket from which a machine's state comes instead of a boot. */
  readonly stateDescriptor: number | undefined;
}

/** What a monitor does with a machine that runs. Each rejects with the monitor's own error. */
export interface Monitor {
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Takes memory from the guest, or gives it back; resolves to what the guest then has. */
  resizeMemory(sizeBytes: number, signal?: AbortSignal): Promise<number>;
  /**
   * Writes the machine's state to an open file or socket; it is paused in the end, however it was before. When
   * it fails, the machine is as it was.
   */
  saveState(descriptor: number, signal?: AbortSignal): Promise<SaveResult>;
  /** Resolves when the state that the machine was started with has arrived, and starts it. */
  receiveState(): Promise<void>;
  /** The machine is gone. */
  close(): void;
}

/** What saving a machine's state took. */
export interface SaveResult {
  /** How long the machine was paused for it. */
  readonly downtimeMs: number;
  /** How much of its memory was written, in bytes. */
  readonly transferredBytes: number;
}

/** A machine that has been started. All that it consists of dies with the guard. */
export interface StartedMachine {
  readonly guard: ChildProcess;
  /** The control channel to the guest agent. */
  readonly control: Duplex;
  /** How many bytes the channel holds that the agent has not read. */
  readonly lineWindowBytes: number;
  /** Console text, from one or more sources. */
  readonly consoles: readonly Readable[];
  readonly monitor: Monitor | undefined;
  /** What runs the guest's code. */
  readonly accelerator: 'kvm' | 'tcg' | 'none';
}

export interface Driver {
  readonly name: DriverName;
  /** The guest's name for its end of a link. */
  readonly networkInterface: string;
  /** Where the guest opens its aperture. */
  readonly apertureDoor: string;
  /**
   * Does what takes time and gives what starts the machine, which starts it or throws a VmError and has started
   * nothing. It must be called at once.
   *
   * @throws VmError `ERR_VM_DRIVER`, `ERR_VM_KERNEL`, `ERR_VM_CACHE`, `ERR_VM_TOOL`, `ERR_VM_ARGUMENT`
   */
  prepare(request: MachineRequest, signal?: AbortSignal): Promise<() => StartedMachine>;
}
