/** What is missing before a device can be given to a VM, in plain words and with what to do about each. */
import { holdersOf, namesOf } from './holders.js';
import { VFIO_DRIVER } from './driver-binding.js';
import { functionsTakenWith, hasIommu, readIommuGroup } from './iommu-group.js';
import { isHolderAlive, type LeaseRecord } from './lease-store.js';
import { lockedMemory } from './locked-memory.js';
import { PCI_DEVICES, readPciDevice, type PciDevice } from './pci-device.js';
import type { SystemTree } from './system-tree.js';
import { limitRemedy, sriovRemedy } from './virtual-functions.js';

/** What kind of thing is missing. */
export type Problem =
  | 'iommu-off'
  | 'iommu-group-missing'
  | 'interrupt-remapping-off'
  | 'vfio-not-loaded'
  | 'no-sriov'
  | 'virtual-function-limit'
  | 'driver-missing'
  | 'group-shared'
  | 'device-leased'
  | 'device-busy'
  | 'permissions'
  | 'memory-lock-limit';

/** One thing that is missing, and what to do about it. */
export interface Finding {
  /** For programs. */
  readonly problem: Problem;
  /** What is so, as a sentence without its full stop. */
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
}

/** What the device is wanted for; what is left out is not looked at. */
export interface PreflightOptions {
  /** The VM's memory, which VFIO pins. */
  readonly memoryBytes?: number;
  /** So many virtual functions are to be made of the function, instead of giving itself away. */
  readonly virtualFunctions?: number;
  /** The other functions of its IOMMU group may be taken from the host as well. */
  readonly wholeGroup?: boolean;
}

/** Everything that a check looks at. */
interface Subject {
  readonly tree: SystemTree;
  readonly device: PciDevice;
  readonly leases: readonly LeaseRecord[];
  readonly options: PreflightOptions;
}

type Check = (subject: Subject) => Finding[] | Promise<Finding[]>;

/** In the order in which one would mend things. */
export async function findProblems(subject: Subject): Promise<Finding[]> {
  const forVirtualFunctions = [iommu, interruptRemapping, vfio, sriov, memoryLock];
  const forItself = [iommu, interruptRemapping, vfio, group, leased, busy, permissions, memoryLock];
  const checks: readonly Check[] =
    subject.options.virtualFunctions === undefined ? forItself : forVirtualFunctions;
  const findings: Finding[] = [];
  for (const check of checks) findings.push(...(await check(subject)));
  return findings;
}

/** One line for each finding. */
export function describe(findings: readonly Finding[]): string {
  return findings.map(({ message, remedy }) => `- ${message}: ${remedy}`).join('\n');
}

function iommu({ tree, device }: Subject): Finding[] {
  if (hasIommu(tree)) {
    if (device.iommuGroup !== undefined) return [];
    return [
      {
        problem: 'iommu-group-missing',
        message: `the host has an IOMMU, but ${device.address} is in no group of it`,
        remedy:
          'put the adapter into a slot whose root port the IOMMU serves; dmesg | grep -i -e dmar -e iommu names them',
      },
    ];
  }
  // Documentation/admin-guide/kernel-parameters.txt. AMD's and most of Arm's are on by default.
  const isIntel = /GenuineIntel/.test(tree.read('/proc/cpuinfo') ?? '');
  const isAsked = /\bintel_iommu=on\b/.test(tree.read('/proc/cmdline') ?? '');
  return [
    {
      problem: 'iommu-off',
      message:
        'the IOMMU is off or not there, so nothing would keep the device within the VM’s memory',
      remedy:
        isIntel && !isAsked
          ? 'enable VT-d in the BIOS, add intel_iommu=on to the kernel’s command line, and reboot'
          : 'enable it in the BIOS (VT-d, AMD-Vi or SMMU), take iommu=off and the like from the kernel’s command line, ' +
            'and reboot',
    },
  ];
}

function interruptRemapping({ tree }: Subject): Finding[] {
  const units = tree.list('/sys/class/iommu');
  const interrupts = tree.read('/proc/interrupts');
  // Names of the chips that an x86 kernel uses begin so when the IOMMU remaps interrupts.
  const isOff =
    units.some((name) => /^(dmar|ivhd)/.test(name)) &&
    interrupts !== undefined &&
    !/\bIR-/.test(interrupts);
  const isWaived =
    tree.read('/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts') === 'Y';
  if (!isOff || isWaived) return [];
  return [
    {
      problem: 'interrupt-remapping-off',
      message:
        'the IOMMU does not remap interrupts, so VFIO refuses it: a VM could raise interrupts of the host',
      remedy:
        'enable x2APIC or interrupt remapping in the BIOS and take intremap=off from the kernel’s command line; ' +
        'only where VMs are trusted: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1',
    },
  ];
}

function vfio({ tree }: Subject): Finding[] {
  const missing = [
    ['vfio-pci', tree.exists(`/sys/bus/pci/drivers/${VFIO_DRIVER}`)],
    ['vfio_iommu_type1', tree.exists('/sys/module/vfio_iommu_type1')],
    ['vfio', tree.exists('/dev/vfio/vfio')],
  ] as const;
  const names = missing.filter(([, isThere]) => !isThere).map(([name]) => name);
  if (names.length === 0) return [];
  return [
    {
      problem: 'vfio-not-loaded',
      message: `the kernel has not loaded ${names.join(', ')}`,
      remedy: `modprobe -a ${names.join(' ')}; if there is no such module, the kernel was built without CONFIG_VFIO_PCI`,
    },
  ];
}

function sriov({ tree, device, options }: Subject): Finding[] {
  const count = options.virtualFunctions ?? 0;
  const { address, driver } = device;
  if (device.sriov === undefined) {
    const isVirtual = device.physicalFunction !== undefined;
    return [
      {
        problem: 'no-sriov',
        message: isVirtual
          ? `${address} is itself a virtual function`
          : `${address} has no SR-IOV capability`,
        remedy: isVirtual
          ? `make virtual functions of ${device.physicalFunction}`
          : sriovRemedy(device),
      },
    ];
  }
  const findings: Finding[] = [];
  const { totalVirtualFunctions } = device.sriov;
  if (count > totalVirtualFunctions) {
    findings.push({
      problem: 'virtual-function-limit',
      message: `${address} can have ${totalVirtualFunctions} virtual functions, not ${count}`,
      remedy: limitRemedy(device),
    });
  }
  if (driver === undefined || driver === VFIO_DRIVER) {
    findings.push({
      problem: 'driver-missing',
      message: `${address} has ${driver === undefined ? 'no driver' : 'the driver vfio-pci'}, and only its own makes virtual functions`,
      remedy: `load its driver (mlx5_core for ConnectX-4 and later), or: echo ${address} > /sys/bus/pci/drivers/DRIVER/bind`,
    });
  }
  if (!tree.mayUse(`${PCI_DEVICES}/${address}/sriov_numvfs`, 'write')) {
    findings.push(noRightTo(`make virtual functions of ${address}`));
  }
  return findings;
}

function noRightTo(what: string): Finding {
  return {
    problem: 'permissions',
    message: `this process may not ${what}`,
    remedy:
      'run it as root, or have root prepare the device: bound to vfio-pci, with /dev/vfio/GROUP given to this user',
  };
}

function group({ tree, device, options }: Subject): Finding[] {
  if (device.iommuGroup === undefined || options.wholeGroup === true) return [];
  const others = readIommuGroup(tree, device.iommuGroup).members.filter(
    ({ address, isInTheWay }) => isInTheWay && address !== device.address,
  );
  if (others.length === 0) return [];
  const names = others.map(({ address, driver }) => `${address} (${driver})`).join(', ');
  return [
    {
      problem: 'group-shared',
      message: `${device.address} shares IOMMU group ${device.iommuGroup} with ${names}, which the host uses`,
      remedy:
        'put the adapter into a slot of its own, enable ACS in the BIOS, or take the others from the host as well ' +
        'with wholeGroup',
    },
  ];
}

function leased({ device, leases }: Subject): Finding[] {
  const other = leases.find(
    ({ address, iommuGroup }) => address === device.address || iommuGroup === device.iommuGroup,
  );
  if (other === undefined) return [];
  const isAlive = isHolderAlive(other);
  return [
    {
      problem: 'device-leased',
      message:
        other.address === device.address
          ? `${device.address} is leased by pid ${other.pid}${isAlive ? '' : ', which is gone'}`
          : `${other.address} of the same IOMMU group ${other.iommuGroup} is leased by pid ${other.pid}`,
      remedy: isAlive
        ? 'take another virtual function, or wait until it is released'
        : 'call reap(); if it can’t be taken back, see what still has it open',
    },
  ];
}

/** Who would lose the function, or one that must be taken with it. */
async function busy({ tree, device, options }: Subject): Promise<Finding[]> {
  const taken = options.wholeGroup === true ? functionsTakenWith(tree, device) : [device.address];
  const findings = await Promise.all(
    taken.map((address) => busyFunction(tree, readPciDevice(tree, address))),
  );
  return findings.flat();
}

async function busyFunction(tree: SystemTree, device: PciDevice): Promise<Finding[]> {
  const findings: Finding[] = [];
  const { address, interfaces, sriov: capability } = device;
  const holders = await holdersOf(tree, nodesOf(tree, device));
  if (holders.length > 0) {
    findings.push({
      problem: 'device-busy',
      message: `${address} is in use by ${namesOf(holders)}`,
      remedy: 'end these programs first',
    });
  }
  // IFF_UP of <linux/if.h>
  const up = interfaces.filter(
    (name) => ((tree.readNumber(`/sys/class/net/${name}/flags`) ?? 0) & 1) !== 0,
  );
  if (up.length > 0) {
    findings.push({
      problem: 'device-busy',
      message: `the host’s network interface ${up.join(', ')} of ${address} is up`,
      remedy: `if the host can do without it: ${up.map((name) => `ip link set dev ${name} down`).join('; ')}`,
    });
  }
  if (capability !== undefined && capability.virtualFunctions.length > 0) {
    findings.push({
      problem: 'device-busy',
      message: `${address} has ${capability.virtualFunctions.length} virtual functions, which would outlive its driver`,
      remedy: `give one of them to the VM, such as ${capability.virtualFunctions[0]}, or remove them first`,
    });
  }
  return findings;
}

/** The device nodes by which programs use a function: VFIO's of its group, and those of its RDMA and NVMe devices. */
export function nodesOf(tree: SystemTree, { address, iommuGroup }: PciDevice): string[] {
  const path = `${PCI_DEVICES}/${address}`;
  return [
    ...(iommuGroup === undefined ? [] : [`/dev/vfio/${iommuGroup}`]),
    ...tree.list(`${path}/infiniband_verbs`).map((name) => `/dev/infiniband/${name}`),
    ...tree.list(`${path}/nvme`).map((name) => `/dev/${name}`),
  ];
}

function permissions({ tree, device, options }: Subject): Finding[] {
  const { address, driver, iommuGroup } = device;
  const findings: Finding[] = [];
  const taken = options.wholeGroup === true ? functionsTakenWith(tree, device) : [address];
  const toBind = taken.filter((name) => name !== address || driver !== VFIO_DRIVER);
  const refused = toBind.filter(
    (name) => !tree.mayUse(`${PCI_DEVICES}/${name}/driver_override`, 'write'),
  );
  if (refused.length > 0) findings.push(noRightTo(`change the driver of ${refused.join(', ')}`));
  const node = `/dev/vfio/${iommuGroup}`;
  if (driver === VFIO_DRIVER && !tree.mayUse(node, 'read-write')) {
    findings.push({
      problem: 'permissions',
      message: `this process may not open ${node}`,
      remedy: `as root: chown ${process.getuid?.() ?? 'USER'} ${node}, or a udev rule for SUBSYSTEM=="vfio"`,
    });
  }
  return findings;
}

function memoryLock({ tree, options }: Subject): Finding[] {
  const { memoryBytes } = options;
  if (memoryBytes === undefined) return [];
  const { limitBytes, neededBytes, isExempt } = lockedMemory(tree, memoryBytes);
  if (isExempt || neededBytes <= limitBytes) return [];
  const mebibytes = (bytes: number): string => `${Math.floor(bytes / 2 ** 20)} MiB`;
  return [
    {
      problem: 'memory-lock-limit',
      message:
        `VFIO pins the VM’s whole memory, some ${mebibytes(neededBytes)} with its firmware’s, ` +
        `but this process may lock ${mebibytes(limitBytes)}`,
      remedy:
        `raise the limit to ${Math.ceil(neededBytes / 1024)} KiB: ulimit -l, memlock in /etc/security/limits.conf, ` +
        'or LimitMEMLOCK= of the systemd unit',
    },
  ];
}
