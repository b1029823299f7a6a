/** What the command and a machine's keeper say to each other. A connection is for one request. */
import type { BootPhases } from '../virtual-machine.js';
import type { DriverName, VmState } from '../states.js';
import type { VmStatistics } from '../statistics.js';

/** A boot's options as the command line has them. */
export interface KeptBootOptions {
  readonly driver?: DriverName;
  readonly memoryBytes?: number;
  readonly vcpus?: number;
  readonly programs?: readonly string[];
  readonly accelerator?: 'kvm' | 'tcg' | 'auto';
  readonly machineType?: 'microvm' | 'q35';
  readonly timeoutMs?: number;
}

/** How a machine comes to life: by a boot, from a snapshot, or by migration to a socket. */
export type Origin =
  | { readonly kind: 'boot'; readonly options: KeptBootOptions }
  | { readonly kind: 'restore'; readonly path: string; readonly timeoutMs?: number }
  | { readonly kind: 'receive'; readonly path: string; readonly timeoutMs?: number };

export interface KeeperInstructions {
  readonly name: string;
  readonly origin: Origin;
}

/** What `viaduct vm list` shows of a machine. */
export interface MachineStatus {
  readonly name: string;
  readonly driver: DriverName;
  readonly accelerator: 'kvm' | 'tcg' | 'none';
  readonly state: VmState;
  readonly kernel: string;
  readonly keeperPid: number;
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

export interface ExecRequest {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
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
  snapshot: { readonly downtimeMs: number; readonly transferredBytes: number };
  migrate: { readonly downtimeMs: number; readonly transferredBytes: number };
  resizeMemory: number;
  copyIn: null;
  copyOut: null;
  exec: { readonly exitCode: number | null; readonly signal: NodeJS.Signals | null };
}
