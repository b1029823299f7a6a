/** Single copy between two processes of one host; see native/aperture/process_copy.h. */
import { constants } from 'node:os';

import { ApertureError } from './errors.js';
import { native } from './native.js';

/**
 * Copies `length` bytes at an address of another process to the front of a view. False when the operating system
 * does not let this process do so, or knows no such process or memory; the view may then be partly written.
 */
export function readProcess(
  pid: number,
  address: number,
  view: Uint8Array,
  length: number,
): boolean {
  const error = native.readProcess(pid, address, view, length);
  const { EPERM, ESRCH, EFAULT, EACCES, ENOSYS } = constants.errno;
  switch (error) {
    case 0:
      return true;
    case EPERM:
    case ESRCH:
    case EFAULT:
    case EACCES:
    case ENOSYS:
      return false;
    default:
      throw new ApertureError('ERR_APERTURE_SYSTEM', `process_vm_readv: errno ${error}`, {
        errno: error,
        operands: { pid, length },
      });
  }
}

/** Lets a process and its descendants read this one's memory where Yama would not; see ptrace(2). */
export function allowReader(pid: number): void {
  native.allowReader(pid);
}
