/** How many virtual functions a physical function has: `sriov_numvfs` of Documentation/PCI/pci-iov-howto.rst. */
import { PassthroughError } from './errors.js';
import { PCI_DEVICES, readPciDevice, type PciDevice } from './pci-device.js';
import { refusedWith, type SystemTree } from './system-tree.js';

/** PCI vendor number of Mellanox, whose firmware has a switch for SR-IOV of its own. */
const MELLANOX = 0x15b3;

/** What makes SR-IOV appear on a function that has none. */
export function sriovRemedy(device: PciDevice): string {
  const firmware =
    device.vendorId === MELLANOX
      ? `in the adapter’s firmware (mlxconfig -d ${device.address} set SRIOV_EN=1 NUM_OF_VFS=8, then a cold reboot)`
      : 'in the adapter’s own set-up';
  return `if the adapter has SR-IOV, enable it in the BIOS and ${firmware}; else give the whole function to the VM`;
}

export function limitRemedy(device: PciDevice): string {
  return device.vendorId === MELLANOX
    ? `ask for fewer, or raise NUM_OF_VFS (mlxconfig -d ${device.address} set NUM_OF_VFS=…, then a cold reboot)`
    : 'ask for fewer';
}

/**
 * Makes the physical function have that many virtual functions, all of them new ones unless there are as many already.
 * The host's drivers don't take them. After a failure there may be none.
 *
 * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`, `ERR_PASSTHROUGH_SYSFS`,
 * `ERR_PASSTHROUGH_TIMEOUT`
 */
export async function changeVirtualFunctionCount(
  tree: SystemTree,
  device: PciDevice,
  count: number,
): Promise<readonly string[]> {
  const { address, sriov } = device;
  const path = `${PCI_DEVICES}/${address}`;
  const operands = { address, count, total: sriov?.totalVirtualFunctions };
  if (sriov === undefined) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_DEVICE',
      `${address} has no SR-IOV capability: ${sriovRemedy(device)}`,
      { operands },
    );
  }
  if (!Number.isSafeInteger(count) || count < 0 || count > sriov.totalVirtualFunctions) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_ARGUMENT',
      `${address} can have 0 to ${sriov.totalVirtualFunctions} virtual functions, not ${count}; ${limitRemedy(device)}`,
      { operands },
    );
  }
  if (sriov.virtualFunctions.length === count) return sriov.virtualFunctions;
  try {
    await tree.write(`${path}/sriov_drivers_autoprobe`, '0');
    // EBUSY otherwise: the kernel goes from one number to another by way of none only.
    if (sriov.virtualFunctions.length > 0) await tree.write(`${path}/sriov_numvfs`, '0');
    if (count > 0) await tree.write(`${path}/sriov_numvfs`, String(count));
  } catch (error) {
    throw explained(error, device, count);
  } finally {
    if (sriov.autoprobe) await tree.write(`${path}/sriov_drivers_autoprobe`, '1');
  }
  const made = readPciDevice(tree, address).sriov?.virtualFunctions ?? [];
  if (made.length !== count) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_DEVICE',
      `${address} was asked for ${count} virtual functions and has ${made.length}; see why in dmesg`,
      { operands },
    );
  }
  return made;
}

/** The kernel's refusal with what it means here: drivers/pci/iov.c. */
function explained(error: unknown, { address, driver }: PciDevice, count: number): unknown {
  const remedies = {
    ENOENT: `its driver (${driver ?? 'none'}) can’t make virtual functions: bind it to its own driver, such as mlx5_core`,
    ENOMEM:
      'no memory-mapped space is left for them: enable SR-IOV in the BIOS, or boot with pci=realloc',
    EIO: 'the adapter or its bridge has no bus numbers left for them: boot with pci=realloc,assign-busses',
    ENOSYS:
      'its driver makes no virtual functions in this mode: for mlx4_core use its module option num_vfs',
    EPERM: 'the kernel or the adapter’s firmware forbids it: see dmesg',
    EACCES: 'run this as root',
  } as const;
  for (const [name, remedy] of Object.entries(remedies)) {
    if (!refusedWith(error, name as keyof typeof remedies)) continue;
    const { message, operands, errno } = error as PassthroughError;
    return new PassthroughError(
      'ERR_PASSTHROUGH_SYSFS',
      `${address} could not be given ${count} virtual functions: ${message}; ${remedy}`,
      { operands, cause: error, ...(errno === undefined ? {} : { errno }) },
    );
  }
  return error;
}
