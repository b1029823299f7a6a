/**
 * Files and folders as one stream of bytes between host and guest; native/guest/file_stream.h says what it holds.
 * What a guest sends is not trusted: it writes below the target and nowhere else.
 */
import { createReadStream } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { basename, dirname, join, posix } from 'node:path';

import { FrameError } from './protocol.js';

const CHUNK_BYTES = 64 * 1024;
const FAILED_CHUNK = 0xffff_ffff;
const MAX_TEXT_BYTES = 4096;
const PERMISSIONS = 0o7777;
/** A guest's root may not make programs that run with the rights of this process's user. */
const GUEST_PERMISSIONS = 0o777;
const END = Buffer.from('e');

/** A file of the host that can't be copied, or a guest's that may not be. */
export class CopyError extends Error {
  override readonly name = 'CopyError';
}

function number(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([number(bytes.byteLength), bytes]);
}

function head(kind: string, mode: number, path: string): Buffer {
  return Buffer.concat([Buffer.from(kind), number(mode & PERMISSIONS), text(path)]);
}

/** What is at `top`, as the guest's agent unpacks it. */
export async function* packFiles(top: string, path = ''): AsyncGenerator<Buffer> {
  const full = join(top, path);
  const status = await lstat(full);
  if (status.isDirectory()) {
    yield head('d', status.mode, path);
    const names = await readdir(full);
    for (const name of names.sort()) yield* packFiles(top, posix.join(path, name));
  } else if (status.isSymbolicLink()) {
    yield head('l', status.mode, path);
    yield text(await readlink(full));
  } else if (status.isFile()) {
    yield head('f', status.mode, path);
    for await (const chunk of createReadStream(full, { highWaterMark: CHUNK_BYTES })) {
      yield number((chunk as Buffer).byteLength);
      yield chunk as Buffer;
    }
    yield number(0);
  } else {
    throw new CopyError(`${full} is neither a file nor a folder nor a symbolic link`);
  }
  if (path === '') yield END;
}

/** Takes so many bytes as are asked for from chunks of any size. */
class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** What is there, one byte at least, `most` at most. */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.byteLength === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new FrameError('the copy broke off');
      this.#rest = next.value;
    }
    const taken = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(taken.byteLength);
    return taken;
  }

  async bytes(byteLength: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = byteLength; left > 0;) {
      const part = await this.some(left);
      parts.push(part);
      left -= part.byteLength;
    }
    return Buffer.concat(parts);
  }

  async number(): Promise<number> {
    return (await this.bytes(4)).readUInt32LE();
  }

  async text(): Promise<string> {
    const byteLength = await this.number();
    if (byteLength > MAX_TEXT_BYTES) throw new FrameError('a path is longer than the limit');
    return (await this.bytes(byteLength)).toString();
  }
}

/** Only the top itself has the empty path; no other has an empty part, `.` or `..`. */
function assertPath(path: string): void {
  const parts = path.split('/');
  if (path !== '' && parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new CopyError(`the guest wants to write to ${JSON.stringify(path)}`);
  }
  if (path.includes('\0')) throw new CopyError('the guest sends a path with NUL in it');
}

/** A link may not lead out of what is copied, as whoever follows it would trust. */
function assertTarget(path: string, target: string): void {
  const inside = posix.join('top', posix.dirname(path), target);
  const leaves = posix.isAbsolute(target) || path === '' || !`${inside}/`.startsWith('top/');
  if (leaves || target.includes('\0')) {
    throw new CopyError(
      `the symbolic link ${path} leads to ${target}, out of what is copied; copy that itself, or remove the link`,
    );
  }
}

/**
 * Makes at `target`, where nothing but a file may be, what comes from a guest. It appears there when it is complete.
 *
 * @throws CopyError, FrameError, or what the file system says
 */
export async function unpackFiles(chunks: AsyncIterable<Buffer>, target: string): Promise<void> {
  const staging = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
  try {
    await unpackInto(new ByteReader(chunks), staging);
    await rename(staging, target);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function unpackInto(reader: ByteReader, top: string): Promise<void> {
  const folders = new Map<string, number>();
  const links: [path: string, target: string][] = [];
  const seen = new Set<string>();
  for (;;) {
    const kind = (await reader.bytes(1)).toString('latin1');
    if (kind === 'e') break;
    if (kind === 'x') throw new FrameError('the guest could not go on');
    const mode = (await reader.number()) & GUEST_PERMISSIONS;
    const path = await reader.text();
    assertPath(path);
    // All that is written to was made here: a folder by the sender's own word, and nothing twice.
    const isOrphan = path !== '' && !folders.has(path.includes('/') ? posix.dirname(path) : '');
    if (seen.has(path) || isOrphan) throw new FrameError('a path comes twice or before its folder');
    seen.add(path);
    if (kind === 'd') {
      await mkdir(join(top, path), 0o700);
      folders.set(path, mode);
    } else if (kind === 'f') {
      await unpackFile(reader, join(top, path), mode);
    } else if (kind === 'l') {
      const target = await reader.text();
      assertTarget(path, target);
      links.push([path, target]);
    } else {
      throw new FrameError(`no entry is of kind ${JSON.stringify(kind)}`);
    }
  }
  if (seen.size === 0) throw new FrameError('the copy is of nothing');
  // Last, so that nothing is written through them.
  for (const [path, target] of links) await symlink(target, join(top, path));
  for (const [path, mode] of [...folders].reverse()) await chmod(join(top, path), mode);
}

async function unpackFile(reader: ByteReader, path: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for (;;) {
      let left = await reader.number();
      if (left === FAILED_CHUNK) throw new FrameError('the guest could not go on');
      if (left === 0) break;
      while (left > 0) {
        const part = await reader.some(left);
        await file.writeFile(part);
        left -= part.byteLength;
      }
    }
    await file.chmod(mode);
  } finally {
    await file.close();
  }
}
