/** Which processes have a device node open: what the kernel would wait for, without saying so. */
import { readdir, readlink } from 'node:fs/promises';

import type { SystemTree } from './system-tree.js';

export interface Holder {
  readonly pid: number;
  readonly command: string;
}

/** Processes of other users are seen by root only. */
export async function holdersOf(tree: SystemTree, paths: readonly string[]): Promise<Holder[]> {
  const found: Holder[] = [];
  for (const name of tree.list('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    if (await hasOpen(tree.path(`/proc/${name}/fd`), paths)) {
      found.push({ pid: Number(name), command: tree.read(`/proc/${name}/comm`) ?? 'unknown' });
    }
  }
  return found;
}

async function hasOpen(directory: string, paths: readonly string[]): Promise<boolean> {
  for (const descriptor of (await unlessGone(readdir(directory))) ?? []) {
    const target = await unlessGone(readlink(`${directory}/${descriptor}`));
    // In a mount namespace of its own, such as the guard's, the path may begin with where that has its root.
    if (target !== undefined && paths.some((path) => target.endsWith(path))) return true;
  }
  return false;
}

/** Undefined for what ended or was closed while it was looked at, and for another user's. */
async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(code ?? '')) return undefined;
    throw error;
  }
}

/** For a sentence: `pid 12 (qemu-system-x86) and pid 13 (node)`. */
export function namesOf(holders: readonly Holder[]): string {
  return holders.map(({ pid, command }) => `pid ${pid} (${command})`).join(' and ');
}
