/** How long the path of a Unix socket may be: libuv cuts off what is beyond, and the socket would be elsewhere. */
import { VmError } from './errors.js';

/** unix(7): sun_path has 108 bytes, the last of them zero. */
const LONGEST_BYTES = 107;

export const isSocketPath = (path: string): boolean => Buffer.byteLength(path) <= LONGEST_BYTES;

/** @throws VmError `ERR_VM_ARGUMENT` */
export function assertSocketPath(path: string, call: string): void {
  if (isSocketPath(path)) return;
  throw new VmError(
    'ERR_VM_ARGUMENT',
    `${call}: ${path} has ${Buffer.byteLength(path)} bytes, and a socket's path has at most ${LONGEST_BYTES}; choose a shorter one`,
    { call, operands: { path } },
  );
}
