/** The ELF image inside a bzImage: what a VMM that brings no firmware starts. */
import { gunzipSync } from 'node:zlib';

import { VmError } from '../errors.js';
import { runTool } from '../tool.js';

const ELF = Buffer.from('\x7fELF', 'latin1');

// Linux, Documentation/arch/x86/boot.rst, "The real-mode kernel header".
const SETUP_SECTORS = 0x1f1;
const HEADER_MAGIC = 0x202;
const PROTOCOL = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const FIRST_PROTOCOL_WITH_PAYLOAD = 0x0208;
const SECTOR_BYTES = 512;

/** Magic numbers of what kernels are compressed by, and how it is undone. The last 4 bytes are the size. */
const FORMATS = [
  { magic: 'fd377a585a00', program: 'xz', args: ['-dc', '--single-stream'], package: 'xz-utils' },
  { magic: '28b52ffd', program: 'zstd', args: ['-dcq'], package: 'zstd' },
] as const;
const GZIP = '1f8b';

/**
 * @param image a bzImage, or an ELF image, which is given back as it is
 * @throws VmError `ERR_VM_KERNEL` when it is neither, or corrupt; `ERR_VM_TOOL`
 */
export async function extractVmlinux(
  image: Buffer,
  path: string,
  signal?: AbortSignal,
): Promise<Buffer> {
  if (startsWith(image, ELF)) return image;
  const payload = findPayload(image);
  if (payload === undefined) throw corrupt(path, 'it is neither a bzImage nor an ELF image');
  const vmlinux = await decompress(payload, path, signal);
  if (!startsWith(vmlinux, ELF)) throw corrupt(path, 'what it holds is no ELF image');
  return vmlinux;
}

function findPayload(image: Buffer): Buffer | undefined {
  if (image.byteLength < PAYLOAD_LENGTH + 4) return undefined;
  if (image.toString('latin1', HEADER_MAGIC, HEADER_MAGIC + 4) !== 'HdrS') return undefined;
  if (image.readUInt16LE(PROTOCOL) < FIRST_PROTOCOL_WITH_PAYLOAD) return undefined;
  // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
  const sectors = image.readUInt8(SETUP_SECTORS) || 4;
  const start = (sectors + 1) * SECTOR_BYTES + image.readUInt32LE(PAYLOAD_OFFSET);
  const end = start + image.readUInt32LE(PAYLOAD_LENGTH);
  return end <= image.byteLength ? image.subarray(start, end) : undefined;
}

async function decompress(payload: Buffer, path: string, signal?: AbortSignal): Promise<Buffer> {
  const remedy = `the kernel ${path} is corrupt: remove it, and get it again`;
  for (const { magic, program, args, package: name } of FORMATS) {
    if (!payload.toString('hex', 0, 8).startsWith(magic)) continue;
    const stdin = program === 'zstd' ? payload.subarray(0, -4) : payload;
    return runTool(program, args, { stdin, remedy, package: name, signal });
  }
  if (!payload.toString('hex', 0, 2).startsWith(GZIP)) {
    throw corrupt(path, 'it is compressed by neither xz nor zstd nor gzip');
  }
  try {
    return gunzipSync(payload.subarray(0, -4));
  } catch (cause) {
    throw corrupt(path, 'what it holds is broken', cause);
  }
}

function startsWith(bytes: Buffer, start: Buffer): boolean {
  return bytes.subarray(0, start.byteLength).equals(start);
}

function corrupt(path: string, why: string, cause?: unknown): VmError {
  return new VmError('ERR_VM_KERNEL', `the kernel ${path} can't be used: ${why}`, {
    call: 'VirtualMachine.boot',
    operands: { kernel: path },
    cause,
  });
}
