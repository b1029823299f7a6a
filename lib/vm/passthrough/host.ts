/** The host's side of VMM bypass on hardware: finds devices, makes virtual functions, and leases them to VMs. */
import { processStartTicks } from '../../aperture/kernel.js';
import {
  bindToVfio,
  readBinding,
  restoreBinding,
  unbindFromVfio,
  VFIO_DRIVER,
} from './driver-binding.js';
import { PassthroughError } from './errors.js';
import { holdersOf, namesOf, type Holder } from './holders.js';
import { setIdentity, type VirtualFunctionIdentity } from './identity.js';
import { functionsTakenWith, readIommuGroup, type IommuGroup } from './iommu-group.js';
import { DeviceLease } from './device-lease.js';
import {
  defaultRunDirectory,
  isHolderAlive,
  LeaseStore,
  type LeaseRecord,
  type LockedLeases,
} from './lease-store.js';
import { PCI_DEVICES, readPciDevice, type PciDevice } from './pci-device.js';
import {
  describe,
  findProblems,
  nodesOf,
  type Finding,
  type PreflightOptions,
} from './preflight.js';
import { listRdmaDevices, type RdmaDevice } from './rdma-device.js';
import { SystemTree } from './system-tree.js';
import { changeVirtualFunctionCount } from './virtual-functions.js';

/** Where the host is, for tests on recorded trees and for sites with rules of their own. */
export interface PassthroughHostOptions {
  /** What /sys, /dev and /proc are below; `/` by default. */
  readonly rootPath?: string;
  /** Where leases are written down, shared by all processes that should know of each other's. */
  readonly runDirectory?: string;
  /** The program ip of iproute2. With another `rootPath` there is none unless it is given. */
  readonly ipCommand?: string;
}

/** What the lease is for. */
export interface LeaseOptions {
  /** The VM's memory; then the limit for locked memory is checked first. */
  readonly memoryBytes?: number;
  /** Takes the other functions of its IOMMU group from the host as well; they are not given to the VM. */
  readonly wholeGroup?: boolean;
}

/** A lease as others see it. */
export interface LeaseStatus {
  /** Of the PCI function that was asked for. */
  readonly address: string;
  /** The number of its IOMMU group. */
  readonly iommuGroup: number;
  /** Process number of the holder, in the holder's own process namespace. */
  readonly pid: number;
  /** False when the holder is gone and `reap()` will take the device back. */
  readonly isHolderAlive: boolean;
}

/**
 * Devices of this host for VMs. Reading needs no rights; changing needs root, or devices that root has prepared: bound
 * to vfio-pci, with `/dev/vfio/GROUP` given to the user.
 *
 * It was tried on a device with SR-IOV that QEMU emulates, and on sysfs as documented for HCAs; not on a real HCA.
 *
 * <!-- given:
 * // HCAs with SR-IOV, whose virtual functions this changes.
 * -->
 *
 * ```ts
 * import { PassthroughHost } from 'viaduct/vm';
 *
 * const host = new PassthroughHost();
 * const memoryBytes = 4 * 2 ** 30;
 * for (const { name, pci } of host.rdmaDevices()) {
 *   if (pci?.sriov === undefined) continue;
 *   const findings = await host.preflight(pci.address, { virtualFunctions: 4, memoryBytes });
 *   for (const { message, remedy } of findings) console.log(`${name}: ${message}: ${remedy}`);
 *   if (findings.length > 0) continue;
 *   const [address] = await host.setVirtualFunctionCount(pci.address, 4);
 *   await host.setIdentity(address!, { nodeGuid: '02:00:00:00:00:00:3b:02', portGuid: '02:00:00:00:00:00:3b:12' });
 *   await using lease = await host.lease(address!, { memoryBytes });
 *   console.log('qemu-system-x86_64', ...lease.qemuArguments({ id: 'hca0' }));
 * }
 * ```
 */
export class PassthroughHost {
  readonly #tree: SystemTree;
  readonly #store: LeaseStore;

  constructor({ rootPath, runDirectory, ipCommand }: PassthroughHostOptions = {}) {
    this.#tree = new SystemTree(rootPath, ipCommand);
    this.#store = new LeaseStore(runDirectory ?? defaultRunDirectory());
  }

  /** The RDMA devices in the order of their names, with the PCI functions behind them. */
  rdmaDevices(): RdmaDevice[] {
    return listRdmaDevices(this.#tree);
  }

  /**
   * Any PCI function, by its address.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`
   */
  pciDevice(address: string): PciDevice {
    return readPciDevice(this.#tree, address);
  }

  /**
   * The IOMMU group of a function; undefined when it is in none.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`
   */
  iommuGroup(address: string): IommuGroup | undefined {
    const { iommuGroup } = this.pciDevice(address);
    return iommuGroup === undefined ? undefined : readIommuGroup(this.#tree, iommuGroup);
  }

  /**
   * What is missing before the function can be leased, or, with `virtualFunctions`, before it can be divided into so
   * many; empty when nothing is. It changes nothing.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`, `ERR_PASSTHROUGH_RUN_DIRECTORY`
   */
  async preflight(address: string, options: PreflightOptions = {}): Promise<Finding[]> {
    const device = this.pciDevice(address);
    return findProblems({ tree: this.#tree, device, leases: this.#store.list(), options });
  }

  /**
   * Gives a physical function that many virtual functions and resolves with their addresses, in the order of their
   * numbers. Other than by way of none the kernel changes no number, so those there were are removed. The host's own
   * drivers don't take the new ones.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`, `ERR_PASSTHROUGH_LEASED` or
   * `ERR_PASSTHROUGH_BUSY` when one that there is is in use, `ERR_PASSTHROUGH_SYSFS`, `ERR_PASSTHROUGH_TIMEOUT`
   */
  async setVirtualFunctionCount(address: string, count: number): Promise<readonly string[]> {
    return this.#store.locked(async (leases) => {
      await this.#reap(leases);
      const device = this.pciDevice(address);
      const { virtualFunctions = [] } = device.sriov ?? {};
      // Nothing is removed when the number stays.
      if (virtualFunctions.length !== count) {
        for (const virtualFunction of virtualFunctions) {
          refuseLeased(leases.list(), virtualFunction);
          await this.#refuseBusy(virtualFunction);
        }
      }
      return changeVirtualFunctionCount(this.#tree, device, count);
    });
  }

  /**
   * Sets GUIDs (InfiniBand) or the MAC (RoCE) of a virtual function, given by its address. Its driver finds them when it
   * starts: do this before the lease.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_DEVICE`, `ERR_PASSTHROUGH_IDENTITY`,
   * `ERR_PASSTHROUGH_SYSFS`
   */
  async setIdentity(address: string, identity: VirtualFunctionIdentity): Promise<void> {
    const virtualFunction = this.pciDevice(address);
    if (virtualFunction.physicalFunction === undefined) {
      throw new PassthroughError(
        'ERR_PASSTHROUGH_DEVICE',
        `${virtualFunction.address} is no virtual function, so its GUIDs and MAC are not the host’s to choose`,
        { operands: { address: virtualFunction.address } },
      );
    }
    const device = this.pciDevice(virtualFunction.physicalFunction);
    const index = device.sriov?.virtualFunctions.indexOf(virtualFunction.address) ?? -1;
    await setIdentity(this.#tree, device, index, identity);
  }

  /**
   * Binds a function to vfio-pci for good, such as to prepare it for users without rights. `lease` does it by itself.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_DRIVER`, `ERR_PASSTHROUGH_SYSFS`, `ERR_PASSTHROUGH_TIMEOUT`
   */
  async bindToVfio(address: string): Promise<void> {
    await this.#store.locked(async () => bindToVfio(this.#tree, this.pciDevice(address).address));
  }

  /**
   * Takes a function from vfio-pci; the kernel chooses its driver anew.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_LEASED`, `ERR_PASSTHROUGH_BUSY`, and as `bindToVfio`
   */
  async unbindFromVfio(address: string): Promise<void> {
    await this.#store.locked(async (leases) => {
      const device = this.pciDevice(address);
      refuseLeased(leases.list(), device.address);
      await this.#refuseBusy(device.address);
      await unbindFromVfio(this.#tree, device.address);
    });
  }

  /**
   * Takes a function for a VM of this process: checks it, writes the lease down, and binds it to vfio-pci. No other
   * lease gets it, or another function of its IOMMU group, until this one is released or this process has ended.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_PREFLIGHT` with `findings`, `ERR_PASSTHROUGH_LEASED`, and as `bindToVfio`.
   * The device then has the driver that it had.
   */
  async lease(address: string, options: LeaseOptions = {}): Promise<DeviceLease> {
    return this.#store.locked(async (leases) => {
      await this.#reap(leases);
      const device = this.pciDevice(address);
      const others = leases.list();
      const findings = await findProblems({ tree: this.#tree, device, leases: others, options });
      refuse(device, findings);
      const iommuGroup = device.iommuGroup!;
      const record: LeaseRecord = {
        address: device.address,
        iommuGroup,
        pid: process.pid,
        startTicks: processStartTicks('self')!,
        former: functionsTakenWith(this.#tree, device).map((name) => readBinding(this.#tree, name)),
      };
      // Written before anything changes, so that whoever reaps it can put all of it back.
      leases.put(record);
      try {
        for (const former of record.former) await bindToVfio(this.#tree, former.address);
      } catch (error) {
        // A failure to put all back says less than why it was needed; the lease then stays written down.
        await this.#giveBack(leases, record).catch(() => {});
        throw error;
      }
      return new DeviceLease(record, () => this.#release(record));
    });
  }

  /** The leases of all processes that share the run directory. */
  leases(): LeaseStatus[] {
    return this.#store.list().map((record) => ({
      address: record.address,
      iommuGroup: record.iommuGroup,
      pid: record.pid,
      isHolderAlive: isHolderAlive(record),
    }));
  }

  /**
   * Takes back what processes that are gone have left leased, and resolves with the addresses. `lease` and
   * `setVirtualFunctionCount` do this first. What a process still has open, such as a VM that outlived its owner, stays
   * as it is.
   *
   * @throws PassthroughError as `bindToVfio`, when a device does not get its driver back
   */
  async reap(): Promise<string[]> {
    return this.#store.locked(async (leases) => {
      const { reaped, failures } = await this.#reap(leases);
      if (failures.length > 0) throw failures[0];
      return reaped;
    });
  }

  /** One device that can't be taken back keeps nobody from the others. */
  async #reap(leases: LockedLeases): Promise<{ reaped: string[]; failures: unknown[] }> {
    const reaped: string[] = [];
    const failures: unknown[] = [];
    for (const record of leases.list()) {
      if (isHolderAlive(record) || (await this.#isInVm(record.address))) continue;
      try {
        await this.#giveBack(leases, record);
        reaped.push(record.address);
      } catch (error) {
        failures.push(error);
      }
    }
    return { reaped, failures };
  }

  /** A function that has been taken from VFIO by hand meanwhile is in none. */
  async #isInVm(address: string): Promise<boolean> {
    const { driver } = readBinding(this.#tree, address);
    return driver === VFIO_DRIVER && (await this.#holders(address)).length > 0;
  }

  async #release(record: LeaseRecord): Promise<void> {
    await this.#store.locked(async (leases) => {
      await this.#refuseBusy(record.address);
      await this.#giveBack(leases, record);
    });
  }

  async #giveBack(leases: LockedLeases, record: LeaseRecord): Promise<void> {
    for (const former of record.former) await restoreBinding(this.#tree, former);
    leases.remove(record.address);
  }

  /** Processes that use the function, of which there are none when it is gone. */
  async #holders(address: string): Promise<Holder[]> {
    if (!this.#tree.exists(`${PCI_DEVICES}/${address}`)) return [];
    return holdersOf(this.#tree, nodesOf(this.#tree, this.pciDevice(address)));
  }

  /** The kernel would wait for them, without a word. */
  async #refuseBusy(address: string): Promise<void> {
    const holders = await this.#holders(address);
    if (holders.length === 0) return;
    throw new PassthroughError(
      'ERR_PASSTHROUGH_BUSY',
      `${address} is still in use by ${namesOf(holders)}: stop that VM, or unplug the device from it, and try again`,
      { operands: { address, pids: holders.map(({ pid }) => pid) } },
    );
  }
}

function refuseLeased(leases: readonly LeaseRecord[], address: string): void {
  const lease = leases.find(({ former }) => former.some((entry) => entry.address === address));
  if (lease === undefined) return;
  throw new PassthroughError(
    'ERR_PASSTHROUGH_LEASED',
    `${address} is leased by pid ${lease.pid}; it must be released first`,
    { operands: { address, pid: lease.pid } },
  );
}

function refuse({ address }: PciDevice, findings: readonly Finding[]): void {
  if (findings.length === 0) return;
  const isTaken = findings.every(({ problem }) => problem === 'device-leased');
  throw new PassthroughError(
    isTaken ? 'ERR_PASSTHROUGH_LEASED' : 'ERR_PASSTHROUGH_PREFLIGHT',
    `${address} can’t be given to a VM:\n${describe(findings)}`,
    { call: 'host.lease', operands: { address }, findings },
  );
}
