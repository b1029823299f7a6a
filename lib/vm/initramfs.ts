/** The file system that a guest starts from: the agent as /init, in a cpio archive, and nothing else. */
import { constants, closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

import { builtExecutable } from '../addon/index.js';
import { VmError } from './errors.js';

/** A regular file of the archive. */
export interface ArchiveFile {
  readonly name: string;
  readonly mode: number;
  readonly data: Uint8Array;
}

const REGULAR_FILE = 0o100000;

/** One member in the format that cpio calls newc: a header of 8-digit hexadecimal fields, name, data. */
function encodeMember(inode: number, mode: number, name: string, data: Uint8Array): Buffer {
  const nameBytes = Buffer.from(`${name}\0`);
  const fields = [inode, mode, 0, 0, 1, 0, data.byteLength, 0, 0, 0, 0, nameBytes.byteLength, 0];
  const header = '070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  const head = Buffer.concat([Buffer.from(header), nameBytes]);
  return Buffer.concat([head, padding(head.byteLength), data, padding(data.byteLength)]);
}

/** Headers and data are aligned to 4 bytes. */
function padding(byteLength: number): Buffer {
  return Buffer.alloc(-byteLength & 3);
}

/** A cpio archive of the files, as Linux unpacks it; see Documentation/driver-api/early-userspace/buffer-format.rst. */
export function encodeArchive(files: readonly ArchiveFile[]): Buffer {
  const members = files.map(({ name, mode, data }, index) =>
    encodeMember(index + 1, REGULAR_FILE | mode, name, data),
  );
  return Buffer.concat([...members, encodeMember(0, 0, 'TRAILER!!!', Buffer.alloc(0))]);
}

/**
 * The initramfs as an open file without a name, so that nothing of it is left however this process ends.
 * The caller closes the descriptor.
 *
 * @throws VmError `ERR_VM_BOOT` when the agent is not built or the file can't be written.
 */
export function openInitramfs(): number {
  const agent = builtExecutable('viaduct-agent');
  let data: Buffer;
  try {
    data = readFileSync(agent);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_BOOT',
      `the guest agent ${agent} can't be read; build it with \`npm rebuild viaduct\``,
      { operands: { agent }, cause },
    );
  }
  const archive = encodeArchive([{ name: 'init', mode: 0o755, data }]);
  try {
    return openUnnamed(archive);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_BOOT',
      `the initramfs (${archive.byteLength} bytes) can't be written below ${tmpdir()}; ` +
        'make room there or name another directory in TMPDIR',
      { operands: { directory: tmpdir() }, cause },
    );
  }
}

function openUnnamed(data: Buffer): number {
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
    const path = join(tmpdir(), `viaduct-initramfs-${randomUUID()}`);
    const descriptor = openSync(path, 'wx+', 0o600);
    rmSync(path);
    return descriptor;
  }
}
