/** A function that this process has leased: what a VM needs to use it, and giving it back. */
import { ClosedError } from '../../errors.js';
import type { LeaseRecord } from './lease-store.js';
import {
  plug,
  qemuArguments,
  unplug,
  type QemuDevice,
  type QmpConnection,
  type UnplugOptions,
} from './qemu.js';

/**
 * A PCI function that is bound to vfio-pci for a VM of this process. Made by `PassthroughHost.lease`. If this process
 * ends without releasing it, the next that leases anything gives the device its driver back.
 *
 * <!-- given:
 * // An HCA with SR-IOV, and the monitor of a QEMU machine with a root port.
 * import type { QmpConnection } from 'viaduct/vm';
 * declare const qmp: QmpConnection;
 * -->
 *
 * ```ts
 * import { PassthroughHost } from 'viaduct/vm';
 *
 * await using lease = await new PassthroughHost().lease('0000:3b:00.1');
 * await lease.plug(qmp, { id: 'hca0', bus: 'port1' });
 * // The guest uses it.
 * await lease.unplug(qmp, 'hca0', { timeoutMs: 10_000 });
 * ```
 */
export class DeviceLease {
  /** Of the PCI function, such as `0000:3b:00.1`. */
  readonly address: string;
  /** The number of its IOMMU group: VFIO's node of it is `/dev/vfio/NUMBER`. */
  readonly iommuGroup: number;
  readonly #giveBack: () => Promise<void>;
  #released: Promise<void> | undefined;

  /** @internal */
  constructor({ address, iommuGroup }: LeaseRecord, giveBack: () => Promise<void>) {
    this.address = address;
    this.iommuGroup = iommuGroup;
    this.#giveBack = giveBack;
  }

  /**
   * The arguments by which QEMU starts with the device: `-device vfio-pci,host=…`.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, ClosedError
   */
  qemuArguments(device: QemuDevice): string[] {
    this.#check('lease.qemuArguments');
    return qemuArguments(this.address, device);
  }

  /**
   * Plugs the device into a running VM.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_PLUG`, ClosedError
   */
  async plug(qmp: QmpConnection, device: QemuDevice): Promise<void> {
    this.#check('lease.plug');
    await plug(qmp, this.address, device);
  }

  /**
   * Unplugs the device of that id; resolves when QEMU has let go of it, so that it can be released or plugged elsewhere.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_UNPLUG` when the guest does not let go of it in time, ClosedError, or the
   * signal's reason
   */
  async unplug(qmp: QmpConnection, id: string, options?: UnplugOptions): Promise<void> {
    this.#check('lease.unplug');
    await unplug(qmp, id, options);
  }

  /**
   * Gives the device the driver back that it had. Releasing twice is harmless; after a failure it can be tried again.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_BUSY` while a VM still has it, and as `PassthroughHost.bindToVfio`
   */
  async release(): Promise<void> {
    this.#released ??= this.#giveBack();
    try {
      await this.#released;
    } catch (error) {
      this.#released = undefined;
      throw error;
    }
  }

  /** As `release`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  #check(call: string): void {
    if (this.#released !== undefined) throw new ClosedError('lease', call);
  }
}
