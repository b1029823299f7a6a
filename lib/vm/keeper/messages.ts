/** What the command and a machine's keeper say to each other. A connection is for one request. */
import type { BootOptions } from '../boot-options.js';
import type { SaveResult } from '../drivers/driver.js';
import type { GuestExit } from '../guest-process.js';
import type { BootPhases } from '../virtual-machine.js';
import type { DriverName, VmState } from '../states.js';
import type { VmStatistics } from '../statistics.js';

/** Those options of a boot that another process can be given, with the same meaning and defaults. */
export type KeptBootOptions = Pick<
  BootOptions,
  'driver' | 'memoryBytes' | 'vcpus' | 'programs' | 'accelerator' | 'machineType'
>;

/** How a machine comes to life: by a boot, from a snapshot, or by migration to a socket. */
export type Origin =
  | { readonly kind: 'boot'; readonly options: KeptBootOptions }
  | { readonly kind: 'restore' | 'receive'; readonly path: string };

export interface KeeperInstructions {
  readonly name: string;
  readonly origin: Origin;
  readonly timeoutMs?: number;
}

/** What `viaduct vm list` shows of a machine. */
export interface MachineStatus {
  /** By which the processes of its user find it. */
  readonly name: string;
  /** What runs it. */
  readonly driver: DriverName;
  /** What runs the guest's code; `'none'` with driver uml. */
  readonly accelerator: 'kvm' | 'tcg' | 'none';
  /** Where it is in its life. `'ended'` is seen only of a machine that ended by itself, for ten minutes. */
  readonly state: VmState;
  /** Release of the guest's kernel, as `uname -r` says it. */
  readonly kernel: string;
  /** Process number of its keeper on this host; SIGTERM to it stops the machine. */
  readonly keeperPid: number;
  /** How long its start took. */
  readonly bootPhases: BootPhases;
  /** Milliseconds since it came to life. */
  readonly uptimeMs: number;
  /** Why it has ended, if nobody asked for it. */
  readonly reason?: string;
}

/** An error on its way. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
}

/** While a machine comes to life, on the keeper's descriptor 3. */
export type Progress =
  | { readonly type: 'console'; readonly text: string }
  | { readonly type: 'ready'; readonly status: MachineStatus }
  | { readonly type: 'error'; readonly error: PlainError };

/** A command for the guest. */
export interface ExecRequest {
  /** Its path, or its name, which is looked for in PATH. */
  readonly command: string;
  /** Its arguments, without its own name. */
  readonly args: readonly string[];
  /** Working directory, absolute; `/` by default. */
  readonly cwd?: string;
  /** Added to PATH and HOME, which every command has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds after which the command is killed; no limit by default. */
  readonly timeoutMs?: number;
}

export type Request =
  | { readonly op: 'status' | 'stats' | 'pause' | 'resume' | 'kill' }
  | { readonly op: 'stop'; readonly graceMs?: number }
  | { readonly op: 'console'; readonly follow: boolean }
  | { readonly op: 'snapshot' | 'migrate'; readonly path: string }
  | { readonly op: 'resizeMemory'; readonly sizeBytes: number }
  | { readonly op: 'copyIn' | 'copyOut'; readonly from: string; readonly to: string }
  | ({ readonly op: 'exec' } & ExecRequest);

/** From the command: the request first, then what its command in the guest is given. */
export type ToKeeper =
  | { readonly type: 'request'; readonly request: Request }
  | { readonly type: 'stdin'; readonly bytes: string }
  | { readonly type: 'stdinEnd' }
  | { readonly type: 'signal'; readonly signal: NodeJS.Signals };

export type FromKeeper =
  | { readonly type: 'stdout' | 'stderr'; readonly bytes: string }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'result'; readonly result: unknown }
  | { readonly type: 'error'; readonly error: PlainError };

/** What each request is answered with. */
export interface Results {
  status: MachineStatus;
  stats: VmStatistics;
  pause: null;
  resume: null;
  kill: null;
  stop: null;
  console: null;
  snapshot: SaveResult;
  migrate: SaveResult;
  resizeMemory: number;
  copyIn: null;
  copyOut: null;
  exec: GuestExit;
}
