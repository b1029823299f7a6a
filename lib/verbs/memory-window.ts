/** Memory windows: remote access to a part of a region, given and taken at run time. */
import { type Access, accessFlags } from './enumerations.js';
import { attempt } from './errors.js';
import type { MemoryRegion } from './memory-region.js';
import { native } from './native.js';
import type { ProtectionDomain } from './protection-domain.js';
import { Resource } from './resource.js';

/** The part of a region that a window opens. The region needs `mw-bind` access. */
export interface WindowBinding {
  readonly region: MemoryRegion;
  readonly offset?: number;
  /** Bytes; 0 closes a type 1 window. Default: to the region's end. */
  readonly length?: number;
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
 * const window = device.allocPd().allocMw(2);
 * console.log(window.type, window.nextRkey() !== window.rkey); // 2 true
 * ```
 */
export class MemoryWindow extends Resource {
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

  /** Notes what a posted bind makes of the window: what it rests on can only be closed after it. */
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
