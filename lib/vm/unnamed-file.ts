/** Files without a name: nothing of them is left however this process ends. */
import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { VmError } from './errors.js';

/**
 * An open file with that content; the caller closes the descriptor.
 *
 * @param what it is, for the error
 * @throws VmError `ERR_VM_BOOT` when it can't be written.
 */
export function openUnnamed(data: Buffer, what: string): number {
  try {
    return write(data);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_BOOT',
      `${what} (${data.byteLength} bytes) can't be written below ${tmpdir()}; ` +
        'make room there or name another directory in TMPDIR',
      { operands: { directory: tmpdir() }, cause },
    );
  }
}

function write(data: Buffer): number {
  const descriptor = openTemporary();
  try {
    for (let at = 0; at < data.byteLength;) at += writeSync(descriptor, data, at);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return descriptor;
}

function openTemporary(): number {
  // O_TMPFILE of <fcntl.h>, which Node.js doesn't name: this bit and O_DIRECTORY.
  const unnamed = 0o20000000 | constants.O_DIRECTORY;
  try {
    return openSync(tmpdir(), unnamed | constants.O_RDWR, 0o600);
  } catch {
    // Some file systems have no unnamed files: the name lives for a moment.
    const path = join(tmpdir(), `viaduct-${randomUUID()}`);
    const descriptor = openSync(path, 'wx+', 0o600);
    rmSync(path);
    return descriptor;
  }
}
