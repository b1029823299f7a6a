/** Descriptors that a machine inherits from this process. */
import { closeSync, openSync } from 'node:fs';

import { VmError } from '../errors.js';

/**
 * In the order of the numbers that they have in the machine. What opens files by path only gets `/proc/self/fd/N`:
 * this works when the machine may not look into /proc/<other process>.
 */
export class Inherited {
  readonly stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'pipe', 'pipe'];
  readonly #ours: number[] = [];

  /** @returns its number in the machine */
  add(descriptor: number | 'pipe'): number {
    this.stdio.push(descriptor);
    return this.stdio.length - 1;
  }

  /** A descriptor of ours that only the machine needs; gives its path there. */
  give(descriptor: number): string {
    this.#ours.push(descriptor);
    return `/proc/self/fd/${this.add(descriptor)}`;
  }

  close(): void {
    for (const descriptor of this.#ours) closeSync(descriptor);
  }
}

/** @throws VmError `ERR_VM_ARGUMENT` */
export function openAperture(vm: string, path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (cause) {
    throw new VmError('ERR_VM_ARGUMENT', `aperture ${path} can't be opened for writing`, {
      vm,
      call: 'VirtualMachine.boot',
      operands: { aperture: path },
      cause,
    });
  }
}
