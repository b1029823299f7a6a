/** Files that are made once and kept for the next machine: the cache folder, and one maker at a time. */
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { homedir, constants as system } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { addon } from '../addon/index.js';
import { VmError } from './errors.js';

interface NativeLock {
  /** 0 or an errno. */
  tryLock(descriptor: number): number;
}

const RETRY_MS = 100;

/** `$XDG_CACHE_HOME/viaduct`, by default ~/.cache/viaduct. */
export function cacheFolder(): string {
  const home = process.env['XDG_CACHE_HOME'] ?? '';
  // XDG Base Directory Specification: a relative path is to be ignored.
  return join(home.startsWith('/') ? home : join(homedir(), '.cache'), 'viaduct');
}

/**
 * The folder `path`, filled by `make` if it isn't there. Others who want the same wait meanwhile; a maker that fails or
 * is killed leaves nothing that looks finished, and what it did leave the next one removes.
 *
 * @throws VmError `ERR_VM_CACHE` when nothing can be written there; what `make` throws.
 */
export async function cachedFolder(
  path: string,
  make: (staging: string) => Promise<void>,
  signal?: AbortSignal,
): Promise<string> {
  if (existsSync(path)) return path;
  const lock = await acquire(`${path}.lock`, signal);
  const staging = join(dirname(path), `.${basename(path)}.part`);
  try {
    if (existsSync(path)) return path;
    rmSync(staging, { recursive: true, force: true });
    mkdirSync(staging);
    await make(staging);
    renameSync(staging, path);
    return path;
  } finally {
    rmSync(staging, { recursive: true, force: true });
    closeSync(lock);
  }
}

/** Makes a small file whole or not at all. */
export function renamedInto(path: string, write: (temporary: string) => void): void {
  const temporary = `${path}.${randomUUID()}`;
  try {
    write(temporary);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

async function acquire(path: string, signal?: AbortSignal): Promise<number> {
  const descriptor = openLock(path);
  try {
    for (;;) {
      const errno = (addon() as NativeLock).tryLock(descriptor);
      if (errno === 0) return descriptor;
      if (errno !== system.errno.EWOULDBLOCK) throw cacheError(path, { errno });
      await sleep(RETRY_MS, undefined, { signal });
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function openLock(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, 'a', 0o600);
  } catch (cause) {
    throw cacheError(path, { cause });
  }
}

function cacheError(path: string, details: { errno?: number; cause?: unknown }): VmError {
  return new VmError(
    'ERR_VM_CACHE',
    `the cache ${cacheFolder()} can't be written; make room there or name another folder in XDG_CACHE_HOME`,
    { call: 'VirtualMachine.boot', operands: { path }, ...details },
  );
}
