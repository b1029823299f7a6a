/** The file system that a guest starts from, a cpio archive: the agent as /init, and what this guest needs. */
import { readFileSync } from 'node:fs';

import { builtExecutable } from '../addon/index.js';
import { VmError } from './errors.js';
import type { KernelModule } from './kernel/modules.js';
import { openUnnamed } from './unnamed-file.js';

/** A member of the archive; its folders come before it. */
export interface ArchiveMember {
  readonly name: string;
  /** Type and permissions as in st_mode of stat(2). */
  readonly mode: number;
  /** A symbolic link's is its target. */
  readonly data?: Uint8Array;
}

export const REGULAR_FILE = 0o100000;
export const DIRECTORY = 0o040000;
export const SYMBOLIC_LINK = 0o120000;

/** What a guest starts from, besides the agent. */
export interface InitramfsContent {
  /** In the order of loading. */
  readonly modules?: readonly KernelModule[];
  readonly members?: readonly ArchiveMember[];
}

const NOTHING = Buffer.alloc(0);

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

/** A cpio archive, as Linux unpacks it; see Documentation/driver-api/early-userspace/buffer-format.rst. */
export function encodeArchive(members: readonly ArchiveMember[]): Buffer {
  const encoded = members.map(({ name, mode, data = NOTHING }, index) =>
    encodeMember(index + 1, mode, name, data),
  );
  return Buffer.concat([...encoded, encodeMember(0, 0, 'TRAILER!!!', NOTHING)]);
}

/**
 * The initramfs as an open file without a name, so that nothing of it is left however this process ends.
 * The caller closes the descriptor.
 *
 * @throws VmError `ERR_VM_BOOT` when the agent is not built or the file can't be written.
 */
export function openInitramfs(content: InitramfsContent = {}): number {
  const { modules = [], members = [] } = content;
  const archive = encodeArchive([
    { name: 'init', mode: REGULAR_FILE | 0o755, data: readAgent() },
    ...(modules.length === 0 ? [] : [{ name: 'modules', mode: DIRECTORY | 0o755 }]),
    ...modules.map(({ name, data }, index) => ({
      name: `modules/${String(index).padStart(3, '0')}-${name}.ko`,
      mode: REGULAR_FILE | 0o644,
      data,
    })),
    ...members,
  ]);
  return openUnnamed(archive, 'the initramfs');
}

function readAgent(): Buffer {
  const agent = builtExecutable('viaduct-agent');
  try {
    return readFileSync(agent);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_BOOT',
      `the guest agent ${agent} can't be read; build it with \`npm rebuild viaduct\``,
      { operands: { agent }, cause },
    );
  }
}
