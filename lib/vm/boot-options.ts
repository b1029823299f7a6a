/** What a machine is to be: the options of `VirtualMachine.boot`, and how they are checked. */
import type { MachineRequest, VmDevice } from './drivers/driver.js';
import { VmError } from './errors.js';
import type { GuestKernel } from './kernel/debian-kernel.js';
import type { LinkEnd } from './link.js';
import { isMachineName } from './machine-name.js';
import { parseAddress } from './network-address.js';
import type { DriverName } from './states.js';

/** What a machine is to be. */
export interface BootOptions {
  /**
   * `'uml'` is User-Mode Linux (Debian package user-mode-linux), the default; `'qemu'` is QEMU (Debian package
   * qemu-system-x86) with Debian's kernel, which is fetched once and kept in ~/.cache/viaduct.
   */
  readonly driver?: DriverName;
  /** Its name in errors and its host name: letters, digits, `-` and `.`; `vm1`, `vm2`, … by default. */
  readonly name?: string;
  /** 256 MiB by default, which is enough for Node.js; at least 32 MiB (uml) or 88 MiB (qemu). */
  readonly memoryBytes?: number;
  /** Processors of the guest; 1 by default, and `uml` has no more. */
  readonly vcpus?: number;
  /** The path by which another process opens an aperture (`aperture.path`); the guest has it at `apertureDoor`. */
  readonly aperture?: string;
  /** The machine's end of a `VirtualLink`. */
  readonly network?: LinkEnd;
  /** IPv4 address and prefix length of that end, such as `10.86.0.1/24`. */
  readonly address?: string;
  /** The processor of the host that the whole machine runs on; any by default. */
  readonly cpu?: number;
  /**
   * Programs of this host, by name or path, that the guest has in its memory with the libraries they need. By default
   * it has all of the host's files, read-only, which can't be with snapshots and migration.
   */
  readonly programs?: readonly string[];
  /** Of `qemu` only: what runs the guest's code; by default `'kvm'` where it works, else emulation, `'tcg'`. */
  readonly accelerator?: 'kvm' | 'tcg' | 'auto';
  /** Of `qemu` only: `'microvm'` by default, which boots faster; `'q35'` has PCI as PCs have it. */
  readonly machineType?: 'microvm' | 'q35';
  /** Of `qemu` only: another kernel than Debian's. */
  readonly kernel?: GuestKernel;
  /** Of `qemu` only: modules of the kernel that the guest loads beyond those that it needs. */
  readonly modules?: readonly string[];
  /** Of `qemu` only: devices that the machine is given. */
  readonly devices?: readonly VmDevice[];
  /** Gets a copy of the console's text. */
  readonly console?: NodeJS.WritableStream;
  /** How long booting may take, once the kernel has been fetched; 60 s by default. */
  readonly timeoutMs?: number;
  /** Aborts booting. */
  readonly signal?: AbortSignal;
  /** An agent that doesn't answer for that long is lost and the machine killed; 30 s by default. */
  readonly silenceTimeoutMs?: number;
}

const MIB = 2 ** 20;
const DEFAULT_MEMORY_BYTES = 256 * MIB;
/** Less, and the kernel finds no room for itself and the initramfs. */
const MIN_MEMORY_BYTES: Readonly<Record<DriverName, number>> = { uml: 32 * MIB, qemu: 88 * MIB };
const MAX_VCPUS = 64;
const ONLY_QEMU = ['accelerator', 'machineType', 'kernel', 'modules', 'devices'] as const;

let machineCount = 0;

interface Fault {
  readonly what: string;
  readonly value: unknown;
  readonly wanted: string;
}

function findFault(options: BootOptions, driver: DriverName, name: string): Fault | undefined {
  const fault = (what: string, value: unknown, wanted: string): Fault => ({ what, value, wanted });
  const { memoryBytes = DEFAULT_MEMORY_BYTES, vcpus = 1, cpu, address, programs } = options;
  if (!isMachineName(name)) {
    return fault(
      'name',
      name,
      '1 to 63 letters, digits, hyphens and dots, a letter or digit first',
    );
  }
  const leastBytes = MIN_MEMORY_BYTES[driver];
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < leastBytes) {
    return fault('memoryBytes', memoryBytes, `an integer of at least ${leastBytes}`);
  }
  const mostVcpus = driver === 'uml' ? 1 : MAX_VCPUS;
  if (!Number.isSafeInteger(vcpus) || vcpus < 1 || vcpus > mostVcpus) {
    return fault('vcpus', vcpus, mostVcpus === 1 ? '1 with driver uml' : `1 to ${mostVcpus}`);
  }
  if (cpu !== undefined && (!Number.isSafeInteger(cpu) || cpu < 0)) {
    return fault('cpu', cpu, 'the number of a processor');
  }
  for (const what of ['timeoutMs', 'silenceTimeoutMs'] as const) {
    const value = options[what];
    if (value !== undefined && !(value > 0 && value < 2 ** 31)) {
      return fault(what, value, 'a positive number of milliseconds below 2^31');
    }
  }
  if (address !== undefined && options.network === undefined) {
    return fault('address', address, 'given together with network');
  }
  if (address !== undefined && parseAddress(address) === undefined) {
    return fault('address', address, 'like 10.86.0.1/24');
  }
  if (programs?.includes('') === true) {
    return fault('programs', programs, 'names or paths of programs');
  }
  const foreign = ONLY_QEMU.find((what) => driver !== 'qemu' && options[what] !== undefined);
  return foreign === undefined ? undefined : fault(foreign, driver, 'given to driver qemu');
}

/** @throws VmError `ERR_VM_ARGUMENT`, `ERR_VM_DRIVER` */
export function checkOptions(
  options: BootOptions,
  call: string,
): { driverName: DriverName; request: MachineRequest } {
  const driverName = options.driver ?? 'uml';
  const refuse = (code: string, { what, value, wanted }: Fault): VmError =>
    new VmError(code, `${call}: ${what} must be ${wanted}, not ${String(value)}`, {
      call,
      operands: { [what]: value },
    });
  if (!Object.hasOwn(MIN_MEMORY_BYTES, driverName)) {
    throw refuse('ERR_VM_DRIVER', { what: 'driver', value: driverName, wanted: 'uml or qemu' });
  }
  const name = options.name ?? `vm${(machineCount += 1)}`;
  const fault = findFault(options, driverName, name);
  if (fault !== undefined) throw refuse('ERR_VM_ARGUMENT', fault);
  return {
    driverName,
    request: {
      name,
      memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
      vcpus: options.vcpus ?? 1,
      cpu: options.cpu,
      aperturePath: options.aperture,
      networkDescriptor: options.network?.descriptor,
      programs: options.programs,
      accelerator: options.accelerator ?? 'auto',
      machineType: options.machineType ?? 'microvm',
      kernel: options.kernel,
      modules: options.modules ?? [],
      devices: options.devices ?? [],
      stateDescriptor: undefined,
    },
  };
}
