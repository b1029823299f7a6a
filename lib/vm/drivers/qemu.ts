/** QEMU: a PC of Debian's kernel and the agent, by KVM where that works, else by emulation. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fstatSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';

import { addon, builtExecutable } from '../../addon/index.js';
import { VmError } from '../errors.js';
import { openInitramfs, type InitramfsContent } from '../initramfs.js';
import { debianKernel, type GuestKernel } from '../kernel/debian-kernel.js';
import { readModules } from '../kernel/modules.js';
import { extractVmlinux } from '../kernel/vmlinux.js';
import { programMembers } from '../programs.js';
import { probeKvm, type Accelerator } from '../qemu/accelerator.js';
import { QemuMonitor } from '../qemu/monitor.js';
import { openUnnamed } from '../unnamed-file.js';
import type { Driver, MachineRequest, StartedMachine } from './driver.js';
import { Inherited, openAperture } from './inherited.js';
import { findProgram } from './program.js';

const PROGRAM = 'qemu-system-x86_64';
const DEBIAN_PACKAGE = 'qemu-system-x86';

/** Place of the aperture on the guest's PCI bus; its number decides the door's path. */
const APERTURE_SLOT = 0x1e;
const APERTURE_DOOR = '/sys/bus/pci/devices/0000:00:1e.0/resource2';
/** The first port of a virtio serial device is kept for a console. */
const CONTROL_PORT = '/dev/vport0p1';
/** QEMU's socket holds back what the guest does not take. */
const LINE_WINDOW_BYTES = 2 ** 20;

interface NativeClock {
  /** Ticks per millisecond; 0 where there is no such counter. */
  timestampCounterKhz(): number;
}

/** What `start` needs besides the request. */
interface Plan {
  readonly program: string;
  readonly kernel: GuestKernel;
  /** Where the kernel's own file can't be started as it is: what is in it. */
  readonly vmlinux: Buffer | undefined;
  readonly accelerator: Accelerator;
  readonly content: InitramfsContent;
}

async function prepare(
  request: MachineRequest,
  signal?: AbortSignal,
): Promise<() => StartedMachine> {
  if (process.arch !== 'x64') {
    throw new VmError(
      'ERR_VM_DRIVER',
      `driver qemu runs guests of x86-64 on hosts of x86-64, and this is ${process.arch}`,
      { vm: request.name, call: 'VirtualMachine.boot', operands: { driver: 'qemu' } },
    );
  }
  const program = findProgram(request.name, 'qemu', PROGRAM, DEBIAN_PACKAGE);
  const kernel = request.kernel ?? (await debianKernel(signal));
  const vmlinux = request.kernel === undefined ? undefined : await unpacked(kernel.image, signal);
  const accelerator = await chooseAccelerator(request, program, kernel);
  const { programs } = request;
  const plan: Plan = {
    program,
    kernel,
    vmlinux,
    accelerator,
    content: {
      modules: await readModules(kernel.modules, modulesFor(request), signal),
      members: programs === undefined ? [] : await programMembers(programs, signal),
    },
  };
  return () => start(plan, request);
}

/** @returns undefined for what needs no unpacking */
async function unpacked(path: string, signal?: AbortSignal): Promise<Buffer | undefined> {
  let image: Buffer;
  try {
    image = readFileSync(path);
  } catch (cause) {
    throw new VmError('ERR_VM_KERNEL', `the kernel ${path} can't be read`, {
      call: 'VirtualMachine.boot',
      operands: { kernel: path },
      cause,
    });
  }
  const vmlinux = await extractVmlinux(image, path, signal);
  return vmlinux === image ? undefined : vmlinux;
}

async function chooseAccelerator(
  { name, accelerator }: MachineRequest,
  program: string,
  kernel: GuestKernel,
): Promise<Accelerator> {
  if (accelerator === 'tcg') return 'tcg';
  const { works, reason } = await probeKvm(program, kernel);
  if (works) return 'kvm';
  if (accelerator === 'auto') return 'tcg';
  throw new VmError(
    'ERR_VM_DRIVER',
    `driver qemu: KVM does not work here (${reason}); leave accelerator out to have the guest emulated`,
    { vm: name, call: 'VirtualMachine.boot', operands: { accelerator, reason } },
  );
}

/** In the order of loading; what each needs itself comes before it. */
function modulesFor(request: MachineRequest): string[] {
  return [
    request.machineType === 'microvm' ? 'virtio_mmio' : 'virtio_pci',
    'virtio_console',
    'virtio_balloon',
    ...(request.programs === undefined ? ['9pnet_virtio', '9p', 'overlay'] : []),
    ...(request.networkDescriptor === undefined ? [] : ['virtio_net']),
    ...request.devices.flatMap(({ modules = [] }) => modules),
    ...request.modules,
  ];
}

function kernelArguments({ accelerator }: Plan, request: MachineRequest): string[] {
  return [
    'console=ttyS0',
    // A panic ends the machine: QEMU takes the reboot for the end.
    'panic=-1',
    'reboot=t',
    // Emulated, each character on the serial line costs: without the kernel's chatter it boots in half the time.
    'quiet',
    'mitigations=off',
    `viaduct_channel=${CONTROL_PORT}`,
    ...(request.programs === undefined ? ['viaduct_root=9p'] : []),
    // Emulated, the kernel can't calibrate the counter, which it reads as it is on the host, and hangs.
    ...(accelerator === 'tcg'
      ? [`tsc_early_khz=${(addon() as NativeClock).timestampCounterKhz()}`]
      : []),
  ];
}

function machineArguments(plan: Plan, request: MachineRequest): string[] {
  const isMicrovm = request.machineType === 'microvm';
  const needsPci = request.aperturePath !== undefined || request.devices.length > 0;
  const microvm = `microvm,x-option-roms=off,isa-serial=on,rtc=on,pcie=${needsPci ? 'on' : 'off'}`;
  return [
    ...['-name', request.name],
    ...['-machine', isMicrovm ? microvm : 'q35'],
    ...['-accel', plan.accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'],
    // Five levels of page tables have each access emulated at more cost, for nothing.
    ...['-cpu', plan.accelerator === 'tcg' ? 'max,la57=off' : 'host'],
    ...['-smp', String(request.vcpus)],
    ...['-m', `${Math.floor(request.memoryBytes / 1024)}K`],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny'],
  ];
}

function deviceArguments(request: MachineRequest, inherited: Inherited): string[] {
  const bus = request.machineType === 'microvm' ? 'device' : 'pci';
  const devices = [...request.devices.flatMap(({ qemuArguments }) => qemuArguments)];
  if (request.programs === undefined) {
    devices.push(
      ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
      ...['-device', `virtio-9p-${bus},fsdev=host,mount_tag=host`],
    );
  }
  if (request.aperturePath !== undefined) {
    const descriptor = openAperture(request.name, request.aperturePath);
    const path = inherited.give(descriptor);
    const sizeBytes = apertureBytes(request, descriptor);
    devices.push(
      ...['-object', `memory-backend-file,id=aperture,share=on,mem-path=${path},size=${sizeBytes}`],
      ...['-device', `ivshmem-plain,memdev=aperture,addr=${APERTURE_SLOT.toString(16)}`],
    );
  }
  if (request.networkDescriptor !== undefined) {
    const end = inherited.add(request.networkDescriptor);
    devices.push(
      ...['-netdev', `dgram,id=network,local.type=fd,local.str=${end}`],
      ...['-device', `virtio-net-${bus},netdev=network,mac=${hardwareAddress()}`],
    );
  }
  return devices;
}

/** Without one QEMU gives each machine the same. IEEE 802: the two low bits say "assigned locally", "of one station". */
function hardwareAddress(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 2;
  return (bytes.toString('hex').match(/../g) ?? []).join(':');
}

/** A PCI device's memory is a power of two in size, and an aperture is made so. */
function apertureBytes({ name, aperturePath }: MachineRequest, descriptor: number): number {
  const { size } = fstatSync(descriptor);
  if (size >= 4096 && Number.isInteger(Math.log2(size))) return size;
  throw new VmError(
    'ERR_VM_ARGUMENT',
    `aperture ${aperturePath} has ${size} bytes, and a PCI device’s memory must be a power of two in size`,
    { vm: name, call: 'VirtualMachine.boot', operands: { aperture: aperturePath, size } },
  );
}

function start(plan: Plan, request: MachineRequest): StartedMachine {
  const inherited = new Inherited();
  try {
    const control = inherited.add('pipe');
    const monitor = inherited.add('pipe');
    const bus = request.machineType === 'microvm' ? 'device' : 'pci';
    const args = [
      ...machineArguments(plan, request),
      ...[
        '-kernel',
        plan.vmlinux === undefined
          ? plan.kernel.image
          : inherited.give(openUnnamed(plan.vmlinux, 'the kernel')),
      ],
      ...['-initrd', inherited.give(openInitramfs(plan.content))],
      ...['-append', kernelArguments(plan, request).join(' ')],
      ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
      ...['-chardev', `socket,id=monitor,fd=${monitor}`, '-mon', 'chardev=monitor,mode=control'],
      ...['-chardev', `socket,id=control,fd=${control}`],
      // Two ports are all that are needed; each takes some of the guest's memory.
      ...['-device', `virtio-serial-${bus},max_ports=2`],
      ...['-device', 'virtserialport,chardev=control,nr=1'],
      ...['-device', `virtio-balloon-${bus},id=balloon`],
      ...deviceArguments(request, inherited),
    ];
    if (request.stateDescriptor !== undefined) {
      args.push('-incoming', `fd:${inherited.add(request.stateDescriptor)}`);
    }
    const guard = spawn(
      builtExecutable('viaduct-guard'),
      [
        ...['--parent', String(process.pid)],
        ...(request.cpu === undefined ? [] : ['--cpu', String(request.cpu)]),
        ...['--kill-tree', '--read-only', '--', plan.program, ...args],
      ],
      {
        stdio: inherited.stdio,
        env: { PATH: process.env['PATH'], HOME: '/' },
        cwd: '/',
        // What a terminal sends to its foreground, such as Ctrl-C, is for the owner to act on.
        detached: true,
      },
    );
    return {
      guard,
      control: socketOf(guard.stdio[control]),
      lineWindowBytes: LINE_WINDOW_BYTES,
      consoles: [guard.stdout, guard.stderr].filter((stream) => stream !== null),
      monitor: new QemuMonitor(socketOf(guard.stdio[monitor]), request.memoryBytes),
      accelerator: plan.accelerator,
    };
  } finally {
    inherited.close();
  }
}

/** A guard that could not be started has an 'error' event to come and no streams. */
function socketOf(stream: unknown): Socket {
  return stream instanceof Socket ? stream : new Socket();
}

export const qemu: Driver = {
  name: 'qemu',
  networkInterface: 'eth0',
  apertureDoor: APERTURE_DOOR,
  prepare,
};
