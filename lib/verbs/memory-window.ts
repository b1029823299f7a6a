/** Memory windows: remote access to a part of a region, given and taken at run time. */
import { type Access, accessFlags } from './enumerations.js';
import { attempt } from './errors.js';
import type { MemoryRegion } from './memory-region.js';
import { native } from './native.js';
import type { ProtectionDomain } from './protection-domain.js';
import { Resource } from './resource.js';

/** The part of a region that a window opens. The region needs `mw-bind` access. */
export interface WindowBinding {
  /** What it is a part of. */
  readonly region: MemoryRegion;
  /** Bytes from the region's start. Default 0. */
  readonly offset?: number;
  /** Bytes; 0 closes a type 1 window. Default: to the region's end. */
  readonly length?: number;
  /** What the window opens it to: `remote-read`, `remote-write`, `remote-atomic`, and `zero-based`. */
  readonly access: readonly Access[];
}

/**
 * A memory window (ibv_alloc_mw(3)). Made by `pd.allocMw`. Closing the region that it was bound to closes it, and so
 * does closing the queue pair that bound it, if it is of type 2.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const mr = pd.registerMemory(new Uint8Array(128), ['local-write', 'mw-bind']);
 *
 * // The peer may write to bytes 64 to 127, by the window's key, and nowhere else.
 * const window = pd.allocMw(2);
 * const bind = { region: mr, offset: 64, access: ['remote-write'] } as const;
 * qp.postSend({ opcode: 'bind-mw', window, bind });
 * const remote = { address: mr.address + 64n, rkey: window.rkey };
 * qp.postSend({ id: 1, opcode: 'rdma-write', sge: mr.slice(0, 64), remote, signaled: true });
 * console.log((await cq.next({ timeoutMs: 5000 })).status); // prints SUCCESS
 * ```
 */
export class MemoryWindow extends Resource {
  /** 1 is bound by `qp.bindWindow`, 2 by a work request. */
  readonly type: 1 | 2;
  #rkey: number;
  #boundBy: readonly Resource[] = [];

  /** @internal */
  static create(pd: ProtectionDomain, type: 1 | 2): MemoryWindow {
    const made = attempt('pd.allocMw', { type }, () => native.allocMw(pd.handle, type));
    return new MemoryWindow(pd, type, made);
  }

  private constructor(
    pd: ProtectionDomain,
    type: 1 | 2,
    made: { readonly handle: number; readonly rkey: number },
  ) {
    super('memory window', made.handle, [pd]);
    this.type = type;
    this.#rkey = made.rkey;
  }

  /** The key that the peer uses, once the window is bound. */
  get rkey(): number {
    return this.#rkey;
  }

  /** The key for the next bind of a type 2 window: the same index, the next of 256 keys (ibv_inc_rkey(3)). */
  nextRkey(): number {
    return ((this.#rkey & 0xffffff00) | ((this.#rkey + 1) & 0xff)) >>> 0;
  }

  /** @internal Notes what a posted bind makes of the window: what it rests on can only be closed after it. */
  bound(region: MemoryRegion, rkey: number, qp: Resource): void {
    for (const each of this.#boundBy) this.removeParent(each);
    // A type 2 window belongs to its queue pair (InfiniBand Vol. 1, 10.6.7.2.2); destroying that first would block.
    this.#boundBy = this.type === 2 ? [region, qp] : [region];
    for (const each of this.#boundBy) this.addParent(each);
    this.#rkey = rkey >>> 0;
  }
}

/** A binding's numbers: address, bytes and ibv_access_flags. */
export function bindingNumbers(
  call: string,
  binding: WindowBinding,
): { offset: number; length: number; access: number } {
  const { offset, length } = binding.region.slice(binding.offset, binding.length);
  return { offset, length, access: accessFlags(call, binding.access) };
}
