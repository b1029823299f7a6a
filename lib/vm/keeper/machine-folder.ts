/**
 * Where machines with names are found: each has a folder of its user's own, which holds its keeper's socket. The folder
 * is made by the guard around the keeper, which so claims the name, and removes it however the keeper ends.
 */
import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

import { VmError } from '../errors.js';
import { isMachineName } from '../machine-name.js';
import { isSocketPath } from '../socket-path.js';

const SOCKET = 'control';

interface Place {
  readonly folder: string;
  readonly prefix: string;
}

function place(): Place {
  const folder = process.env['XDG_RUNTIME_DIR'] ?? '';
  if (folder !== '') return { folder, prefix: 'viaduct-vm-' };
  return { folder: tmpdir(), prefix: `viaduct-vm-${userInfo().uid}-` };
}

/** @throws VmError `ERR_VM_ARGUMENT` for a name that no machine can have */
export function machineFolder(name: string): string {
  const { folder, prefix } = place();
  const path = join(folder, prefix + name);
  const fits = isSocketPath(join(path, SOCKET));
  if (isMachineName(name) && fits) return path;
  throw new VmError(
    'ERR_VM_ARGUMENT',
    fits
      ? `no machine is named '${name}': names have 1 to 63 letters, digits, hyphens and dots, a letter or digit first`
      : `the name '${name}' is too long for a socket in ${folder}; give a shorter one, or set XDG_RUNTIME_DIR`,
    { operands: { name } },
  );
}

export function socketPath(name: string): string {
  return join(machineFolder(name), SOCKET);
}

/** Whether the folder of that name is there and nobody else's. */
export function isClaimed(name: string): boolean {
  const path = machineFolder(name);
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  if (found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0)
    return true;
  throw new VmError(
    'ERR_VM_NAME',
    `${path} is in the way: it is not a folder that only you may enter; remove it or choose another name`,
    { operands: { name, path } },
  );
}

export function claimedNames(): string[] {
  const { folder, prefix } = place();
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((entry) => entry.startsWith(prefix))
    .map((entry) => entry.slice(prefix.length))
    .filter(isMachineName)
    .sort();
}

/** What a keeper and its guard left that were killed together. */
export function removeAbandoned(name: string): void {
  rmSync(machineFolder(name), { recursive: true, force: true });
}
