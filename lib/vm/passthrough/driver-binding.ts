/**
 * Which driver a PCI function has, and changing it: `driver_override`, `unbind` and `drivers_probe` of
 * Documentation/ABI/testing/sysfs-bus-pci.
 */
import { PassthroughError } from './errors.js';
import { PCI_DEVICES, readPciDevice } from './pci-device.js';
import type { SystemTree } from './system-tree.js';

export const VFIO_DRIVER = 'vfio-pci';

/** What a function had before it was bound to VFIO, so that it gets it back. */
export interface FormerBinding {
  readonly address: string;
  readonly driver: string | undefined;
  readonly override: string | undefined;
}

export function readBinding(tree: SystemTree, address: string): FormerBinding {
  const path = `${PCI_DEVICES}/${address}`;
  const override = tree.read(`${path}/driver_override`);
  return {
    address,
    driver: tree.linkName(`${path}/driver`),
    override:
      override === undefined || override === '' || override === '(null)' ? undefined : override,
  };
}

/**
 * Binds the function to vfio-pci; it keeps what it had if that fails.
 *
 * @throws PassthroughError `ERR_PASSTHROUGH_DRIVER`, `ERR_PASSTHROUGH_SYSFS`, `ERR_PASSTHROUGH_TIMEOUT`
 */
export async function bindToVfio(tree: SystemTree, address: string): Promise<void> {
  const former = readBinding(tree, address);
  if (former.driver === VFIO_DRIVER) return;
  try {
    await setOverride(tree, address, VFIO_DRIVER);
    await unbind(tree, address);
    await probe(tree, address, VFIO_DRIVER);
  } catch (error) {
    // What can't be put back is worth less than the reason why.
    await restoreBinding(tree, former).catch(() => {});
    throw error;
  }
}

/**
 * Gives the function back the driver that it had, or none. A function that is gone needs nothing.
 *
 * @throws PassthroughError `ERR_PASSTHROUGH_DRIVER`, `ERR_PASSTHROUGH_SYSFS`, `ERR_PASSTHROUGH_TIMEOUT`
 */
export async function restoreBinding(tree: SystemTree, former: FormerBinding): Promise<void> {
  const { address, driver, override } = former;
  if (!tree.exists(`${PCI_DEVICES}/${address}`)) return;
  if (readBinding(tree, address).driver !== driver) {
    await unbind(tree, address);
    if (driver !== undefined) {
      // While sriov_drivers_autoprobe is 0, a virtual function takes no driver but that of its override.
      await setOverride(tree, address, driver);
      await probe(tree, address, driver);
    }
  }
  await setOverride(tree, address, override);
}

/**
 * Takes the function from vfio-pci and lets the kernel choose its driver.
 *
 * @throws PassthroughError as `restoreBinding`
 */
export async function unbindFromVfio(tree: SystemTree, address: string): Promise<void> {
  await setOverride(tree, address, undefined);
  if (readBinding(tree, address).driver !== VFIO_DRIVER) return;
  await unbind(tree, address);
  await tree.write('/sys/bus/pci/drivers_probe', address);
}

async function setOverride(
  tree: SystemTree,
  address: string,
  driver: string | undefined,
): Promise<void> {
  if (readBinding(tree, address).override === driver) return;
  // A line alone clears it.
  await tree.write(`${PCI_DEVICES}/${address}/driver_override`, `${driver ?? ''}\n`);
}

async function unbind(tree: SystemTree, address: string): Promise<void> {
  const path = `${PCI_DEVICES}/${address}/driver`;
  if (tree.linkName(path) !== undefined) await tree.write(`${path}/unbind`, address);
}

/** Asks the kernel to find the driver; it does not say when the driver refuses. */
async function probe(tree: SystemTree, address: string, driver: string): Promise<void> {
  await tree.write('/sys/bus/pci/drivers_probe', address);
  const { driver: now, iommuGroup } = readPciDevice(tree, address);
  if (now === driver) return;
  const cause = tree.exists(`/sys/bus/pci/drivers/${driver}`)
    ? driver === VFIO_DRIVER && iommuGroup === undefined
      ? 'vfio-pci takes no device that is in no IOMMU group: switch the IOMMU on'
      : 'see why in dmesg'
    : `the driver is not loaded: modprobe ${driver}`;
  throw new PassthroughError(
    'ERR_PASSTHROUGH_DRIVER',
    `${address} did not get the driver ${driver}, its driver is ${now ?? 'none'}; ${cause}`,
    { operands: { address, driver, now } },
  );
}
