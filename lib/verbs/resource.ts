/** What all verbs objects have in common: parents that close their children first, and use after close. */
import { ClosedError } from '../errors.js';
import { verbsFailure } from './errors.js';
import { type Handle, native } from './native.js';

/**
 * Objects that are open, by handle: how events find them. Remote peers may use an object that this program has
 * forgotten, so the garbage collector closes none; they stay until they are closed or the thread ends.
 */
const open = new Map<Handle, Resource>();

/** The open object with this handle, if it is of this class. */
export function resourceAt<T extends Resource>(
  type: { readonly prototype: T },
  handle: Handle,
): T | undefined {
  const resource = open.get(handle);
  const isOne = resource !== undefined && Object.getPrototypeOf(resource) === type.prototype;
  return isOne ? (resource as T) : undefined;
}

/**
 * What the objects of a device have in common: closing one closes, first, all that was made from it. The garbage
 * collector closes none, for peers may use what a program has forgotten; an object stays until it is closed or its
 * thread ends. Any call on a closed object throws a `ClosedError`.
 */
export abstract class Resource implements Disposable {
  readonly #what: string;
  readonly #parents: Resource[];
  readonly #children = new Set<Resource>();
  #handle: Handle;

  /** @param what the object in words, for error messages: `queue pair` */
  protected constructor(what: string, handle: Handle, parents: readonly Resource[]) {
    this.#what = what;
    this.#handle = handle;
    this.#parents = [...parents];
    for (const parent of parents) parent.#children.add(this);
    open.set(handle, this);
  }

  /** @internal The number by which native code knows the object, for posting and polling; 0 once closed. */
  get handle(): Handle {
    return this.#handle;
  }

  /** Whether `close` was called, on the object or on what it was made from. */
  get closed(): boolean {
    return this.#handle === 0;
  }

  /** Makes `parent`'s close wait for this object's. */
  protected addParent(parent: Resource): void {
    if (this.#parents.includes(parent)) return;
    this.#parents.push(parent);
    parent.#children.add(this);
  }

  protected removeParent(parent: Resource): void {
    const at = this.#parents.indexOf(parent);
    if (at >= 0) this.#parents.splice(at, 1);
    parent.#children.delete(this);
  }

  protected reparent(from: Resource, to: Resource): void {
    this.removeParent(from);
    this.addParent(to);
  }

  /** @throws ClosedError */
  protected openHandle(call: string): Handle {
    if (this.#handle === 0) throw new ClosedError(this.#what, call);
    return this.#handle;
  }

  /** Runs before the object is destroyed, its children already closed. */
  protected beforeClose(): void {
    // Most objects have nothing else to let go of.
  }

  /**
   * Destroys the object and, first, all that was made from it. Closing twice is harmless.
   *
   * @throws VerbsError `ERR_VERBS_BUSY` when something outside this program still uses it; it stays open.
   */
  close(): void {
    if (this.#handle === 0) return;
    for (const child of [...this.#children].reverse()) child.close();
    this.beforeClose();
    const errno = native.destroyObject(this.#handle);
    if (errno !== 0) throw verbsFailure('close', `destroying the ${this.#what}`, errno, {});
    open.delete(this.#handle);
    this.#handle = 0;
    for (const parent of this.#parents) parent.#children.delete(this);
  }

  /** As `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
