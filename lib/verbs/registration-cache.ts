/** Registration caches: memory that is registered once, and stays so for the next transfer. */
import { constants } from 'node:os';

import { ACCESS, type Access, accessFlags, accessNames } from './enumerations.js';
import { argumentError, attempt, VerbsError } from './errors.js';
import {
  bytesOf,
  type MemorySlice,
  type RegisteredMemory,
  type RemoteMemory,
} from './memory-region.js';
import { acquireCached, native, type NativeCachedRegion, releaseCached } from './native.js';
import type { ProtectionDomain, Registrable } from './protection-domain.js';
import { Resource } from './resource.js';

/** How much a registration cache keeps, and for whom. */
export interface RegistrationCacheOptions {
  /** Registrations that it keeps, unless more are in use. Default 4096. */
  readonly maxEntries?: number;
  /**
   * Bytes pinned that it keeps, unless more are in use. Default half of RLIMIT_MEMLOCK, and a quarter of the machine's
   * memory where that is less or the limit doesn't hold (no limit, or CAP_IPC_LOCK).
   */
  readonly maxBytes?: number;
  /**
   * Whether peers may be given keys for more of an ArrayBuffer than was asked for, and for more access: then
   * registrations with remote access are merged as local ones are. For ranks of one job. Default false.
   */
  readonly trustPeers?: boolean;
}

/** What a registration cache has done and holds. The first five only grow. */
export interface RegistrationCacheStats {
  /** Requests that found a registration. */
  readonly hits: number;
  /** Requests that had to register. */
  readonly misses: number;
  /** Registrations whose place one that overlaps them took. */
  readonly merges: number;
  /** Idle registrations that made room for others. */
  readonly evictions: number;
  /** Registrations that ended with their ArrayBuffer. */
  readonly invalidations: number;
  /** Registrations of now. */
  readonly entries: number;
  /** Those of them that are in use. */
  readonly entriesInUse: number;
  /** Bytes pinned now, in whole pages; pages that are registered twice are counted twice, as the kernel does it. */
  readonly bytes: number;
  /** Those of them that are in use. */
  readonly bytesInUse: number;
  /** The limit in force. */
  readonly maxEntries: number;
  /** The limit in force. */
  readonly maxBytes: number;
}

/** As in native/regcache/cache.h: where an id says which of the cache's places it is in. */
const SLOT_MASK = 0xfffff;

/** Windows are bound to a region for longer than a use, and zero-based regions have no addresses to share. */
const UNFIT = ACCESS['mw-bind'] | ACCESS['zero-based'];

const offsetIn = (memory: Registrable): number =>
  ArrayBuffer.isView(memory) ? memory.byteOffset : 0;

/**
 * A registration of a cache, which its users share: what `cache.acquire` gives. Each use ends with one `release`.
 * It may be larger than what was asked for; `offsetOf` says where that begins.
 *
 * ```ts
 * import { accessNumber, openDevice, SIGNALED } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const cache = pd.createRegistrationCache();
 * const target = pd.registerMemory(new Uint8Array(64), ['local-write', 'remote-write']);
 * const source = new Uint8Array(64).fill(7);
 * const local = accessNumber(['local-write']);
 * const ring = qp.sendRing(1);
 *
 * for (let i = 0; i < 3; i++) {
 *   const region = cache.acquire(source, local); // allocates nothing but the first time
 *   const { addressLow, addressHigh, rkey } = target;
 *   ring.rdmaWrite(0, i, region, region.offsetOf(source), 64, addressLow, addressHigh, rkey, SIGNALED);
 *   qp.post(ring, 0, 1);
 *   (await cq.next({ timeoutMs: 5000 })).check();
 *   region.release();
 * }
 * console.log(target.view?.[63], cache.stats().misses); // prints 7 1
 * ```
 */
export class CachedRegion implements RegisteredMemory {
  /** The key for work requests of this program. */
  readonly lkey: number;
  /** The key to give to the peer. It opens nothing unless remote access was asked for. */
  readonly rkey: number;
  /** The address by which work requests, the peer's too, name the first byte. */
  readonly address: bigint;
  /** The lower 32 bits of `address`, for rings. */
  readonly addressLow: number;
  /** The upper 32 bits of `address`, for rings. */
  readonly addressHigh: number;
  /** Where it begins in its ArrayBuffer, in bytes. */
  readonly byteOffset: number;
  /** Bytes registered. */
  readonly byteLength: number;
  readonly #cache: RegistrationCache;
  readonly #id: number;

  /** @internal */
  constructor(cache: RegistrationCache, made: NativeCachedRegion) {
    this.#cache = cache;
    this.#id = made.id;
    this.lkey = made.lkey;
    this.rkey = made.rkey;
    this.address = made.address;
    this.addressLow = Number(made.address & 0xffffffffn);
    this.addressHigh = Number(made.address >> 32n);
    this.byteOffset = made.byteOffset;
    this.byteLength = made.byteLength;
  }

  /** Where in this region the memory begins that it was acquired for, in bytes. */
  offsetOf(memory: Registrable): number {
    return offsetIn(memory) - this.byteOffset;
  }

  /**
   * Ends one use. Work requests that name it must be completed.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when there were as many releases as uses already.
   */
  release(): void {
    if (releaseCached(this.#cache.handle, this.#id) || this.#cache.closed) return;
    throw argumentError('region.release', 'it was released as often as it was acquired', {});
  }
}

/**
 * The use of a registration by one who asked: what `cache.get` gives. The memory stays registered, and allocated,
 * until `release`, also if nothing else refers to it.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const cache = device.allocPd().createRegistrationCache();
 * const view = new Float64Array(1024).subarray(8, 16);
 * {
 *   using registration = cache.get(view, ['local-write', 'remote-read']);
 *   const { address, rkey } = registration.remote(); // what a peer needs to read the view, and it alone
 *   console.log(address === registration.address, rkey === registration.rkey); // prints true true
 *   console.log(registration.byteLength, cache.stats().entriesInUse); // prints 64 1
 * }
 * console.log(cache.stats().entriesInUse); // prints 0
 * ```
 */
export class Registration implements Disposable {
  /** What work requests may name; it may hold more than was asked for. */
  readonly region: CachedRegion;
  /** Bytes asked for. */
  readonly byteLength: number;
  readonly #offset: number;
  #released = false;

  /** @internal */
  constructor(region: CachedRegion, memory: Registrable) {
    this.region = region;
    this.byteLength = memory.byteLength;
    this.#offset = region.offsetOf(memory);
  }

  /** The key for work requests of this program. */
  get lkey(): number {
    return this.region.lkey;
  }

  /** The key to give to the peer, with `address`. It opens nothing unless remote access was asked for. */
  get rkey(): number {
    return this.region.rkey;
  }

  /** The address by which work requests, the peer's too, name the first byte that was asked for. */
  get address(): bigint {
    return this.region.address + BigInt(this.#offset);
  }

  /**
   * A part of what was asked for, to name in a work request; all of it by default.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when it does not lie within.
   */
  slice(offset = 0, length = this.byteLength - offset): MemorySlice {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength)) {
      throw argumentError(
        'registration.slice',
        `bytes ${offset} to ${offset + length} do not lie in these ${this.byteLength} bytes`,
        { offset, length, byteLength: this.byteLength },
      );
    }
    return { region: this.region, offset: this.#offset + offset, length };
  }

  /** What a peer needs to read or write from `offset` on. */
  remote(offset = 0): RemoteMemory {
    return { address: this.address + BigInt(offset), rkey: this.rkey };
  }

  /** Ends the use. Work requests that name it must be completed. Releasing twice is harmless. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.region.release();
  }

  /** As `release`, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Registrations of a protection domain that outlast their use, so that a transfer from the same memory finds it
 * registered. Made by `pd.createRegistrationCache`.
 *
 * Without remote access it registers whole pages of an ArrayBuffer, and never a byte beside it; ranges that overlap
 * or touch become one registration. With remote access it registers just the bytes asked for, so that a key never
 * opens a Buffer's neighbours in Node's pool (see `trustPeers`).
 *
 * A release does not take a peer's key back: until the registration is evicted, or the cache is closed, the peer may
 * read or write there as it was allowed to. For keys that must end with a transfer, use `pd.registerMemory` or windows.
 *
 * What is in use stays registered and allocated. What is idle is let go when a limit is reached, the least recently
 * used first; when the device or the system can register no more; and when its ArrayBuffer is collected, which the
 * cache does not hinder. An ArrayBuffer that was detached or transferred is never found again, and posts that name
 * what is still in use of it are refused. A SharedArrayBuffer goes when the last object for it in this thread goes.
 *
 * A child that was forked from the process must not use its registrations: `node:child_process` runs other programs,
 * and so never does. In a child of another sort the cache refuses to register, and deregisters nothing. Memory is not
 * withheld from children (MADV_DONTFORK): on kernels before 5.12, with hardware, set RDMAV_FORK_SAFE=1 if native code
 * forks.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const cache = pd.createRegistrationCache();
 *
 * const theirs = new Uint8Array(65536);
 * using target = cache.get(theirs, ['local-write', 'remote-write']);
 * const mine = new Uint8Array(65536).fill(7);
 * for (let i = 0; i < 3; i++) {
 *   using source = cache.get(mine);
 *   qp.postSend({ opcode: 'rdma-write', sge: source.slice(), remote: target.remote(), signaled: true });
 *   (await cq.next({ timeoutMs: 5000 })).check();
 * }
 * const { misses, hits, entriesInUse } = cache.stats();
 * console.log(theirs[65535], misses, hits, entriesInUse); // prints 7 2 2 1
 * ```
 */
export class RegistrationCache extends Resource {
  /** Whose memory regions it makes. */
  readonly pd: ProtectionDomain;
  readonly #regions: CachedRegion[] = [];
  /** ArrayBuffers whose end is awaited. */
  readonly #watched = new WeakSet<ArrayBufferLike>();
  readonly #ends = new FinalizationRegistry<undefined>(() => native.sweepCached(this.handle));

  /** @internal */
  static create(pd: ProtectionDomain, options: RegistrationCacheOptions): RegistrationCache {
    const call = 'pd.createRegistrationCache';
    const { maxEntries, maxBytes, trustPeers = false } = options;
    for (const [name, value] of Object.entries({ maxEntries, maxBytes })) {
      if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) continue;
      throw argumentError(call, `${name} is a whole number from 0, not ${value}`, {
        [name]: value,
      });
    }
    const handle = attempt(call, {}, () =>
      native.createRegistrationCache(pd.handle, maxEntries, maxBytes, trustPeers),
    );
    return new RegistrationCache(pd, handle);
  }

  private constructor(pd: ProtectionDomain, handle: number) {
    super('registration cache', handle, [pd]);
    this.pd = pd;
  }

  /**
   * Registers memory, unless it is registered already, and says so to one user, who releases it.
   *
   * @throws VerbsError `ERR_VERBS_MEMORY` for memory that is detached, resizable or empty; `ERR_VERBS_ARGUMENT` for
   *   access `mw-bind` or `zero-based`; `ERR_VERBS_SYSTEM` with `errno` ENOMEM when no more may be pinned though
   *   everything idle was let go.
   */
  get(memory: Registrable, access: readonly Access[] = ['local-write']): Registration {
    return new Registration(this.acquire(memory, accessFlags('cache.get', access)), memory);
  }

  /**
   * As `get`, and where the memory is registered already it allocates nothing: the region is one that users share, and
   * each of them releases it once.
   *
   * @param access flags of `accessNumber`
   * @throws VerbsError as `get`
   */
  acquire(memory: Registrable, access: number): CachedRegion {
    const id = acquireCached(this.handle, memory, access >>> 0);
    const region = id < 0 ? undefined : this.#regions[id & SLOT_MASK];
    return region ?? this.#register(memory, access >>> 0);
  }

  /** What it has done, and what it holds now. */
  stats(): RegistrationCacheStats {
    const handle = this.openHandle('cache.stats');
    const counts: unknown = native.cacheStatistics(handle);
    return counts as RegistrationCacheStats;
  }

  #register(memory: Registrable, access: number): CachedRegion {
    const call = 'cache.get';
    const handle = this.openHandle(call);
    const bytes = bytesOf(call, memory).length;
    const names = accessNames(access);
    if ((access & UNFIT) !== 0) {
      throw argumentError(
        call,
        `a cached registration can't have 'mw-bind' or 'zero-based'; use pd.registerMemory`,
        { access: names },
      );
    }
    let made: NativeCachedRegion;
    try {
      made = attempt(call, { bytes, access: names }, () =>
        native.registerCached(handle, memory, access),
      );
    } catch (error) {
      if (error instanceof VerbsError && error.errno === constants.errno.ENOMEM) {
        throw this.#exhausted(call, bytes, error);
      }
      throw error;
    }
    const { buffer } = ArrayBuffer.isView(memory) ? memory : { buffer: memory };
    if (!this.#watched.has(buffer)) {
      this.#watched.add(buffer);
      this.#ends.register(buffer, undefined);
    }
    const region = new CachedRegion(this, made);
    this.#regions[made.id & SLOT_MASK] = region;
    return region;
  }

  #exhausted(call: string, bytes: number, cause: VerbsError): VerbsError {
    const { entriesInUse, bytesInUse } = this.stats();
    const memlock = native.memlockBytes();
    const limit =
      memlock === null
        ? 'the limit is the device’s or the machine’s, for RLIMIT_MEMLOCK does not bind this process'
        : `or raise RLIMIT_MEMLOCK, which is ${memlock} bytes: \`ulimit -l\`, LimitMEMLOCK= of systemd, or memlock in ` +
          '/etc/security/limits.conf';
    return new VerbsError(
      'ERR_VERBS_SYSTEM',
      `${call} (bytes ${bytes}): ibv_reg_mr failed with ENOMEM: nothing idle is left in this cache, and ` +
        `${entriesInUse} registrations of ${bytesInUse} bytes are in use; release some, close regions outside it; ${limit}`,
      {
        call,
        verb: 'ibv_reg_mr',
        errno: constants.errno.ENOMEM,
        operands: { bytes, entriesInUse, bytesInUse, memlock },
        cause,
      },
    );
  }
}
