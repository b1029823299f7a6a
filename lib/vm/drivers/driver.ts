/** What a driver does: it starts the program that is a virtual machine, and names its channels. */
import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';

/** A machine as the user asked for it, checked. */
export interface MachineRequest {
  readonly name: string;
  readonly memoryBytes: number;
  /** The processor that all its threads run on. */
  readonly cpu: number | undefined;
  /** What another process opens to map the aperture. */
  readonly aperturePath: string | undefined;
  /** The machine's end of a link, an open socket of Ethernet frames. */
  readonly networkDescriptor: number | undefined;
}

/** A machine that has been started. All that it consists of dies with the guard. */
export interface StartedMachine {
  readonly guard: ChildProcess;
  /** The control channel to the guest agent. */
  readonly control: Duplex;
  /** Console text, from one or more sources. */
  readonly consoles: readonly Readable[];
}

export interface Driver {
  readonly name: string;
  /** The guest's name for its end of a link. */
  readonly networkInterface: string;
  /** Starts a machine, or throws a VmError and has started nothing. */
  start(request: MachineRequest): StartedMachine;
}
