/** Protection domains: what may use what. */
import { AddressHandle, type AddressVector } from './address-handle.js';
import { type Access, accessFlags, numberOf } from './enumerations.js';
import { argumentError, attempt } from './errors.js';
import type { Device } from './device.js';
import { MemoryRegion, type MemorySlice, type RegisterOptions } from './memory-region.js';
import { MemoryWindow } from './memory-window.js';
import { native } from './native.js';
import { QueuePair } from './queue-pair.js';
import type { QueuePairOptions } from './queue-pair-options.js';
import { RegistrationCache, type RegistrationCacheOptions } from './registration-cache.js';
import { Resource } from './resource.js';
import { SharedReceiveQueue, type SharedReceiveQueueOptions } from './shared-receive-queue.js';
import type { WorkCompletion } from './work-completion.js';

/** Memory that can be registered: a view of it, or all of a buffer. */
export type Registrable = ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

const ADVICE = { prefetch: 0, 'prefetch-write': 1, 'prefetch-no-fault': 2 } as const;

/**
 * A protection domain (ibv_alloc_pd(3)): a queue pair can only touch memory of its own domain.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const mr = pd.registerMemory(new Float64Array(512), ['local-write', 'remote-read']);
 * const qp = pd.createQp({ type: 'RC', sendCq: device.createCq(64) });
 * pd.close(); // and what was made from it
 * console.log(mr.closed, qp.closed); // prints true true
 * ```
 */
export class ProtectionDomain extends Resource {
  /** What it was made from. */
  readonly device: Device;

  /** @internal */
  static create(device: Device): ProtectionDomain {
    const handle = attempt('device.allocPd', {}, () => native.allocPd(device.handle));
    return new ProtectionDomain(device, handle);
  }

  private constructor(device: Device, handle: number) {
    super('protection domain', handle, [device]);
    this.device = device;
  }

  /**
   * Registers memory, so that the device may move it (ibv_reg_mr(3)).
   *
   * The bytes stay allocated until the region is closed, whatever becomes of the view. A view of a larger buffer
   * registers just its own bytes: those of Node's pool beside a small Buffer stay out of the peer's reach.
   *
   * @throws VerbsError `ERR_VERBS_MEMORY` for memory that is detached, resizable or empty.
   */
  registerMemory(
    memory: Registrable,
    access: readonly Access[] = ['local-write'],
    options: RegisterOptions = {},
  ): MemoryRegion {
    this.openHandle('pd.registerMemory');
    return MemoryRegion.register(this, memory, access, options);
  }

  /**
   * Allocates memory that other processes of this host can map, zeroed, and registers it. The software HCA moves it
   * without a system call; to other devices it is memory like any.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` unless the size is a positive whole number, `ERR_VERBS_SYSTEM` when there
   *   is no memory for it.
   */
  allocateMemory(sizeBytes: number, access: readonly Access[] = ['local-write']): MemoryRegion {
    this.openHandle('pd.allocateMemory');
    if (!(Number.isSafeInteger(sizeBytes) && sizeBytes > 0)) {
      throw argumentError(
        'pd.allocateMemory',
        `the size is a positive whole number of bytes, not ${sizeBytes}`,
        { sizeBytes },
      );
    }
    const buffer = attempt('pd.allocateMemory', { sizeBytes }, () =>
      native.allocateShareable(sizeBytes),
    );
    return MemoryRegion.register(this, new Uint8Array(buffer, 0, sizeBytes), access, {});
  }

  /**
   * A cache of registrations, for memory that is transferred again and again.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` unless the limits are whole numbers from 0.
   */
  createRegistrationCache(options: RegistrationCacheOptions = {}): RegistrationCache {
    this.openHandle('pd.createRegistrationCache');
    return RegistrationCache.create(this, options);
  }

  /**
   * Registers a part of a dma-buf, such as the memory of a GPU (ibv_reg_dmabuf_mr(3)).
   *
   * @param descriptor the dma-buf's file descriptor
   * @param iova the address by which work requests name the first byte
   */
  registerDmabuf(
    descriptor: number,
    offset: bigint,
    length: bigint,
    iova: bigint,
    access: readonly Access[] = ['local-write'],
  ): MemoryRegion {
    this.openHandle('pd.registerDmabuf');
    return MemoryRegion.registerDmabuf(this, descriptor, offset, length, iova, access);
  }

  /** Tells the device what parts of regions made with `on-demand` will be used soon (ibv_advise_mr(3)). */
  adviseMemory(
    advice: keyof typeof ADVICE,
    slices: readonly MemorySlice[],
    options: { readonly wait?: boolean } = {},
  ): void {
    const entries = new DataView(new ArrayBuffer(16 * slices.length));
    slices.forEach(({ region, offset, length }, i) => {
      entries.setBigUint64(16 * i, region.address + BigInt(offset), true);
      entries.setUint32(16 * i + 8, length, true);
      entries.setUint32(16 * i + 12, region.lkey, true);
    });
    const number = numberOf('pd.adviseMemory', 'advice', ADVICE, advice);
    attempt('pd.adviseMemory', { advice }, () =>
      native.adviseMemory(
        this.openHandle('pd.adviseMemory'),
        number,
        options.wait === true ? 1 : 0,
        new Uint8Array(entries.buffer),
      ),
    );
  }

  /**
   * A memory window (ibv_alloc_mw(3)): remote access to a part of a region, given and taken at run time. Type 1 is
   * bound by `qp.bindWindow`, type 2 by a work request.
   */
  allocMw(type: 1 | 2 = 2): MemoryWindow {
    this.openHandle('pd.allocMw');
    return MemoryWindow.create(this, type);
  }

  /**
   * A queue pair of any type but `XRC_RECV`, which an XRC domain makes (ibv_create_qp(3)). It is in the state
   * `RESET`.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when `sendCq` is missing, or more is asked for than the device has.
   */
  createQp(options: QueuePairOptions): QueuePair {
    this.openHandle('pd.createQp');
    return QueuePair.create(this.device, this, undefined, options);
  }

  /**
   * A queue of receives that many queue pairs take from (ibv_create_srq(3)).
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when only one of `xrcDomain` and `cq` is given, or more is asked for than
   *   the device has.
   */
  createSrq(options: SharedReceiveQueueOptions = {}): SharedReceiveQueue {
    this.openHandle('pd.createSrq');
    return SharedReceiveQueue.create(this, options);
  }

  /**
   * Where datagrams go (ibv_create_ah(3)).
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when `dgid` is no GID, or the device refuses the path.
   */
  createAh(vector: AddressVector): AddressHandle {
    this.openHandle('pd.createAh');
    return AddressHandle.create(this, vector);
  }

  /**
   * An address handle to answer a datagram (ibv_create_ah_from_wc(3)).
   *
   * @param header the first 40 bytes of the receive's memory: the global routing header
   */
  createAhFromCompletion(completion: WorkCompletion, header: Uint8Array, port = 1): AddressHandle {
    this.openHandle('pd.createAhFromCompletion');
    return AddressHandle.fromCompletion(this, completion, header, port);
  }
}

/** The flags of an access list, for `cache.acquire` and `sendRing.bindWindow`. */
export function accessNumber(access: readonly Access[]): number {
  return accessFlags('accessNumber', access);
}
