/**
 * IOMMU groups: the smallest sets of functions that the IOMMU can tell apart, so that VFIO gives them away only as a
 * whole. A group is viable when none of its functions is driven by the host (Documentation/driver-api/vfio.rst).
 */
import { isPciAddress, PCI_DEVICES, type PciDevice } from './pci-device.js';
import type { SystemTree } from './system-tree.js';

const IOMMU_GROUPS = '/sys/kernel/iommu_groups';

/** A PCI function of an IOMMU group. */
export interface GroupMember {
  /** Such as `0000:3b:00.0`. */
  readonly address: string;
  /** The name of its driver; undefined when it has none. */
  readonly driver: string | undefined;
  /** A bridge or a root port only passes on what others do, and keeps its driver. */
  readonly isBridge: boolean;
  /** Whether the host drives it, so that VFIO refuses the group. */
  readonly isInTheWay: boolean;
}

/** Functions that the IOMMU can't tell apart, as `/sys/kernel/iommu_groups/NUMBER` shows them. */
export interface IommuGroup {
  /** By which sysfs and `/dev/vfio` name it. */
  readonly number: number;
  /** In the order of their addresses. */
  readonly members: readonly GroupMember[];
  /** Whether VFIO opens it as it is now. */
  readonly isViable: boolean;
}

/** Drivers that touch no memory themselves: those of VFIO, and those that only hold a device or pass requests on. */
function isHarmless(driver: string): boolean {
  return /(^|[-_])vfio([-_]|$)/.test(driver) || driver === 'pci-stub' || driver === 'pcieport';
}

export function readIommuGroup(tree: SystemTree, number: number): IommuGroup {
  const members = tree
    .list(`${IOMMU_GROUPS}/${number}/devices`)
    .filter(isPciAddress)
    .map((address) => {
      const driver = tree.linkName(`${PCI_DEVICES}/${address}/driver`);
      const classCode = tree.readNumber(`${PCI_DEVICES}/${address}/class`) ?? 0;
      return {
        address,
        driver,
        // PCI Code and ID Assignment: base class 06 is bridges.
        isBridge: classCode >> 16 === 0x06,
        isInTheWay: driver !== undefined && !isHarmless(driver),
      };
    });
  return { number, members, isViable: members.every(({ isInTheWay }) => !isInTheWay) };
}

/** The function itself, and those of its group that the host drives: VFIO gives the one away only with the others. */
export function functionsTakenWith(
  tree: SystemTree,
  { address, iommuGroup }: Pick<PciDevice, 'address' | 'iommuGroup'>,
): string[] {
  const members = iommuGroup === undefined ? [] : readIommuGroup(tree, iommuGroup).members;
  const others = members.filter((member) => member.isInTheWay && member.address !== address);
  return [address, ...others.map((member) => member.address)];
}

export function hasIommu(tree: SystemTree): boolean {
  return tree.list(IOMMU_GROUPS).length > 0;
}
