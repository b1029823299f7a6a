/** Memory regions: memory that the device may read and write. */
import { type Access, accessFlags } from './enumerations.js';
import { argumentError, attempt, VerbsError } from './errors.js';
import { native, type NativeRegion } from './native.js';
import type { ProtectionDomain, Registrable } from './protection-domain.js';
import { Resource } from './resource.js';

/** How `pd.registerMemory` is to register. */
export interface RegisterOptions {
  /** The address by which work requests name the first byte. Default: its own (ibv_reg_mr_iova(3)). */
  readonly iova?: bigint;
}

/** Memory that work requests can name: a `MemoryRegion`, or a `CachedRegion` of a registration cache. */
export interface RegisteredMemory {
  /** Bytes registered. */
  readonly byteLength: number;
  /** The key for work requests of this program. */
  readonly lkey: number;
  /** The address by which work requests name the first byte. */
  readonly address: bigint;
  /** The lower 32 bits of `address`, for rings. */
  readonly addressLow: number;
  /** The upper 32 bits of `address`, for rings. */
  readonly addressHigh: number;
}

/** A part of a region, to send from or receive into. */
export interface MemorySlice {
  /** What it is a part of. */
  readonly region: RegisteredMemory;
  /** Bytes from the region's start. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** A peer's memory: what RDMA and atomic requests name. */
export interface RemoteMemory {
  /** Where it begins, in the peer's terms. JSON has no bigint: send it as text. */
  readonly address: bigint;
  /** The remote key of its region or window, 32 bits. */
  readonly rkey: number;
}

/** What `reregister` changes; what is not given stays. */
export interface ReregisterChange {
  /** The memory that the region is to be from now on. */
  readonly memory?: Registrable;
  /** All that may be done with it from now on. */
  readonly access?: readonly Access[];
  /** The domain that it is to belong to, of the same device. */
  readonly pd?: ProtectionDomain;
}

const REREG = { translation: 1, pd: 2, access: 4 } as const;

/** The bytes of registrable memory; checked, so that the device never gets memory that may go away. */
export function bytesOf(call: string, memory: Registrable): Uint8Array {
  const buffer = ArrayBuffer.isView(memory) ? memory.buffer : memory;
  // Resizable memory is unmapped where it shrinks, under the device and under peers that read it.
  if ('resizable' in buffer && buffer.resizable === true) {
    throw new VerbsError(
      'ERR_VERBS_MEMORY',
      `${call}: a resizable ArrayBuffer could shrink under the device; register one of fixed length`,
      { call },
    );
  }
  if (memory.byteLength === 0) {
    throw new VerbsError(
      'ERR_VERBS_MEMORY',
      `${call}: this memory has no bytes: it is empty, or was detached by a transfer`,
      { call },
    );
  }
  const view = ArrayBuffer.isView(memory)
    ? new Uint8Array(buffer, memory.byteOffset, memory.byteLength)
    : new Uint8Array(buffer);
  return view;
}

/**
 * A memory region (ibv_reg_mr(3)). Made by `pd.registerMemory`, `pd.allocateMemory` and `pd.registerDmabuf`.
 *
 * The memory stays allocated while the region is open. If its ArrayBuffer is transferred or detached, posts that
 * name the region are refused; close the region first.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const bytes = new Uint8Array(4096);
 * const mr = device.allocPd().registerMemory(bytes, ['local-write', 'remote-write']);
 * console.log(mr.byteLength, mr.view?.buffer === bytes.buffer); // prints 4096 true
 * const { address } = mr.remote(64); // with mr.rkey, what a peer needs to write there
 * console.log(address - mr.address); // prints 64n
 * ```
 */
export class MemoryRegion extends Resource implements RegisteredMemory {
  #pd: ProtectionDomain;
  #view: Uint8Array | undefined;
  #lkey = 0;
  #rkey = 0;
  #byteLength: number;
  #address = 0n;
  #addressLow = 0;
  #addressHigh = 0;

  /** @internal */
  static register(
    pd: ProtectionDomain,
    memory: Registrable,
    access: readonly Access[],
    options: RegisterOptions,
  ): MemoryRegion {
    const call = 'pd.registerMemory';
    const view = bytesOf(call, memory);
    const flags = accessFlags(call, access);
    const made = attempt(call, { bytes: view.length, access }, () =>
      native.registerMemory(
        pd.handle,
        view.buffer,
        view.byteOffset,
        view.length,
        flags,
        options.iova,
      ),
    );
    const region = new MemoryRegion(pd, made, view, view.length);
    const zeroBased = access.includes('zero-based') ? 0n : undefined;
    region.#place(options.iova ?? zeroBased ?? made.address);
    return region;
  }

  /** @internal */
  static registerDmabuf(
    pd: ProtectionDomain,
    descriptor: number,
    offset: bigint,
    length: bigint,
    iova: bigint,
    access: readonly Access[],
  ): MemoryRegion {
    const call = 'pd.registerDmabuf';
    const flags = accessFlags(call, access);
    const made = attempt(call, { descriptor, offset, length, access }, () =>
      native.registerDmabuf(pd.handle, offset, length, iova, descriptor, flags),
    );
    const region = new MemoryRegion(pd, made, undefined, Number(length));
    region.#place(iova);
    return region;
  }

  private constructor(
    pd: ProtectionDomain,
    made: NativeRegion,
    view: Uint8Array | undefined,
    byteLength: number,
  ) {
    super('memory region', made.handle, [pd]);
    this.#pd = pd;
    this.#view = view;
    this.#byteLength = byteLength;
    this.#keys(made);
  }

  /** The domain that it belongs to. */
  get pd(): ProtectionDomain {
    return this.#pd;
  }

  /** The memory itself; undefined for a dma-buf. */
  get view(): Uint8Array | undefined {
    return this.#view;
  }

  /** Bytes registered. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** The key for work requests of this program. */
  get lkey(): number {
    return this.#lkey;
  }

  /** The key to give to the peer, with `address`. */
  get rkey(): number {
    return this.#rkey;
  }

  /** The address by which work requests, the peer's too, name the first byte. */
  get address(): bigint {
    return this.#address;
  }

  /** The lower 32 bits of `address`, for rings. */
  get addressLow(): number {
    return this.#addressLow;
  }

  /** The upper 32 bits of `address`, for rings. */
  get addressHigh(): number {
    return this.#addressHigh;
  }

  /**
   * A part of the region, to name in a work request; all of it by default. It is an object of two numbers and nothing
   * is copied.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when it does not lie within the region.
   */
  slice(offset = 0, length = this.#byteLength - offset): MemorySlice {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.#byteLength)) {
      throw argumentError(
        'mr.slice',
        `bytes ${offset} to ${offset + length} do not lie in this region of ${this.#byteLength} bytes`,
        { offset, length, byteLength: this.#byteLength },
      );
    }
    return { region: this, offset, length };
  }

  /** What a peer needs to read or write from `offset` on. */
  remote(offset = 0): RemoteMemory {
    return { address: this.#address + BigInt(offset), rkey: this.#rkey };
  }

  /**
   * Changes memory, access or domain in one step (ibv_rereg_mr(3)). The keys may change. No work request may be in
   * flight on the region.
   *
   * @throws UnsupportedError on devices that can't; VerbsError `ERR_VERBS_MEMORY`, `ERR_VERBS_ARGUMENT`.
   */
  reregister(change: ReregisterChange): void {
    const call = 'mr.reregister';
    const handle = this.openHandle(call);
    const view = change.memory === undefined ? undefined : bytesOf(call, change.memory);
    const flags =
      (view === undefined ? 0 : REREG.translation) |
      (change.pd === undefined ? 0 : REREG.pd) |
      (change.access === undefined ? 0 : REREG.access);
    const access = accessFlags(call, change.access ?? []);
    const made = attempt(call, { changes: Object.keys(change) }, () =>
      native.reregisterMemory(
        handle,
        flags,
        change.pd?.handle ?? 0,
        view?.buffer,
        view?.byteOffset ?? 0,
        view?.length ?? 0,
        access,
      ),
    );
    if (change.pd !== undefined) {
      this.reparent(this.#pd, change.pd);
      this.#pd = change.pd;
    }
    if (view !== undefined) {
      this.#view = view;
      this.#byteLength = view.length;
      this.#place(made.address);
    }
    this.#keys(made);
  }

  #keys(made: NativeRegion): void {
    this.#lkey = made.lkey;
    this.#rkey = made.rkey;
  }

  #place(address: bigint): void {
    this.#address = address;
    this.#addressLow = Number(address & 0xffffffffn);
    this.#addressHigh = Number(address >> 32n);
  }
}
