/**
 * A PCI function as sysfs shows it, with its SR-IOV capability: Documentation/ABI/testing/sysfs-bus-pci and
 * Documentation/PCI/pci-iov-howto.rst of the kernel.
 */
import { PassthroughError } from './errors.js';
import type { SystemTree } from './system-tree.js';

export const PCI_DEVICES = '/sys/bus/pci/devices';

/** What a physical function can do, and has done. */
export interface SriovCapability {
  /** The most virtual functions that it can have, `sriov_totalvfs`. */
  readonly totalVirtualFunctions: number;
  /** The addresses of those that it has, in the order of their numbers. */
  readonly virtualFunctions: readonly string[];
  /** Whether the host's driver takes new virtual functions at once, `sriov_drivers_autoprobe`. */
  readonly autoprobe: boolean;
}

/** A PCI function. Numbers are undefined where sysfs does not have them (Documentation/ABI/testing/sysfs-bus-pci). */
export interface PciDevice {
  /** Domain, bus, device and function, such as `0000:3b:00.0`. */
  readonly address: string;
  /** Who made it, by the list of the PCI-SIG: `0x15b3` is Mellanox. */
  readonly vendorId: number | undefined;
  /** Which of the vendor's devices it is. */
  readonly deviceId: number | undefined;
  /** Base class, subclass and interface: `0x020700` is an InfiniBand controller. */
  readonly classCode: number | undefined;
  /** The name of its driver; undefined when it has none. */
  readonly driver: string | undefined;
  /** The number of its IOMMU group; undefined when it is in none, as without an IOMMU. */
  readonly iommuGroup: number | undefined;
  /** The NUMA node that it is nearest to, from 0; undefined where the kernel knows none. */
  readonly numaNode: number | undefined;
  /** Its network interfaces on this host. */
  readonly interfaces: readonly string[];
  /** Undefined for a function without this capability, which all virtual functions are. */
  readonly sriov: SriovCapability | undefined;
  /** The address of the physical function that this one belongs to; undefined if it is no virtual function. */
  readonly physicalFunction: string | undefined;
}

const ADDRESS = /^[0-9a-f]{4,}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;

/** The address in full and in lower case: `3B:00.1` is `0000:3b:00.1`. */
export function pciAddress(text: string): string {
  const lower = text.toLowerCase();
  const address = /^[^:]*:[^:]*$/.test(lower) ? `0000:${lower}` : lower;
  if (!ADDRESS.test(address)) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_ARGUMENT',
      `${JSON.stringify(text)} is no PCI address; write domain:bus:device.function, such as 0000:3b:00.1 (lspci -D lists them)`,
      { operands: { address: text } },
    );
  }
  return address;
}

export function isPciAddress(text: string): boolean {
  return ADDRESS.test(text);
}

/** @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE` when there is none of that address. */
export function readPciDevice(tree: SystemTree, text: string): PciDevice {
  const address = pciAddress(text);
  const path = `${PCI_DEVICES}/${address}`;
  if (!tree.exists(path)) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_DEVICE',
      `there is no PCI device ${address} on this host; lspci -D lists those there are`,
      { operands: { address } },
    );
  }
  const group = tree.linkName(`${path}/iommu_group`);
  const node = tree.readNumber(`${path}/numa_node`);
  return {
    address,
    vendorId: tree.readNumber(`${path}/vendor`),
    deviceId: tree.readNumber(`${path}/device`),
    classCode: tree.readNumber(`${path}/class`),
    driver: tree.linkName(`${path}/driver`),
    iommuGroup: group !== undefined && /^\d+$/.test(group) ? Number(group) : undefined,
    // The kernel says -1 for a machine without nodes.
    numaNode: node !== undefined && node >= 0 ? node : undefined,
    interfaces: tree.list(`${path}/net`),
    sriov: readSriov(tree, path),
    physicalFunction: tree.linkName(`${path}/physfn`),
  };
}

function readSriov(tree: SystemTree, path: string): SriovCapability | undefined {
  const total = tree.readNumber(`${path}/sriov_totalvfs`);
  if (total === undefined) return undefined;
  const virtualFunctions = tree
    .list(path)
    .map((name) => /^virtfn(\d+)$/.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .sort((a, b) => Number(a) - Number(b))
    .map((number) => tree.linkName(`${path}/virtfn${number}`) ?? '');
  return {
    totalVirtualFunctions: total,
    virtualFunctions,
    autoprobe: tree.readNumber(`${path}/sriov_drivers_autoprobe`) !== 0,
  };
}
