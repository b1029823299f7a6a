/**
 * The RDMA devices of the host as sysfs shows them: Documentation/ABI/stable/sysfs-class-infiniband of the kernel.
 * Unlike `viaduct/verbs`, this also shows what a VM could be given.
 */
import { isPciAddress, readPciDevice, type PciDevice } from './pci-device.js';
import type { SystemTree } from './system-tree.js';

const RDMA_DEVICES = '/sys/class/infiniband';

/** A port of an RDMA device. */
export interface RdmaPort {
  /** From 1. */
  readonly number: number;
  /** What its cable carries: `'Ethernet'` is RoCE; undefined where the kernel says neither. */
  readonly linkLayer: 'InfiniBand' | 'Ethernet' | undefined;
  /** As the kernel words it: `ACTIVE`, `INIT`, `DOWN`, …; undefined where it says none. */
  readonly state: string | undefined;
}

/**
 * An RDMA device, with the PCI function behind it. What sysfs does not have or this process may not read is undefined
 * (Documentation/ABI/stable/sysfs-class-infiniband).
 */
export interface RdmaDevice {
  /** Such as `mlx5_0`. */
  readonly name: string;
  /** `0011:2233:4455:6677`, as the kernel writes GUIDs. */
  readonly nodeGuid: string | undefined;
  /** The same for all devices of one adapter, in the same form. */
  readonly systemImageGuid: string | undefined;
  /** As its driver words it, such as `16.35.2000`. */
  readonly firmwareVersion: string | undefined;
  /** In the order of their numbers. */
  readonly ports: readonly RdmaPort[];
  /** Undefined for a device without hardware of its own, such as Soft-RoCE. */
  readonly pci: PciDevice | undefined;
}

/** All RDMA devices in the order of their names; a device whose attributes can't be read is there without them. */
export function listRdmaDevices(tree: SystemTree): RdmaDevice[] {
  return tree.list(RDMA_DEVICES).map((name) => readRdmaDevice(tree, name));
}

function readRdmaDevice(tree: SystemTree, name: string): RdmaDevice {
  const path = `${RDMA_DEVICES}/${name}`;
  const address = tree.realName(`${path}/device`);
  return {
    name,
    nodeGuid: tree.read(`${path}/node_guid`),
    systemImageGuid: tree.read(`${path}/sys_image_guid`),
    firmwareVersion: tree.read(`${path}/fw_ver`),
    ports: tree
      .list(`${path}/ports`)
      .filter((number) => /^\d+$/.test(number))
      .map((number) => readPort(tree, `${path}/ports/${number}`, Number(number)))
      .sort((a, b) => a.number - b.number),
    pci: address !== undefined && isPciAddress(address) ? readPciDevice(tree, address) : undefined,
  };
}

function readPort(tree: SystemTree, path: string, number: number): RdmaPort {
  const layer = tree.read(`${path}/link_layer`);
  return {
    number,
    linkLayer: layer === 'InfiniBand' || layer === 'Ethernet' ? layer : undefined,
    // "4: ACTIVE"
    state: tree.read(`${path}/state`)?.replace(/^\d+: /, ''),
  };
}
