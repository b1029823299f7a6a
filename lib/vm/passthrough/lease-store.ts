/**
 * Which process has leased which function: one file a lease in a run directory that the processes of one user share.
 * Whoever changes anything holds the directory's lock, which the kernel takes back when a process dies. A lease names its
 * holder by pid and start time, so that it can be told when the holder is gone.
 */
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, constants as system } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { addon } from '../../addon/index.js';
import { processStartTicks } from '../../aperture/kernel.js';
import type { FormerBinding } from './driver-binding.js';
import { PassthroughError } from './errors.js';

/** A lease as it is written down. */
export interface LeaseRecord {
  /** The function that was asked for. */
  readonly address: string;
  readonly iommuGroup: number;
  /** The holder. */
  readonly pid: number;
  readonly startTicks: number;
  /** What the leased functions had before, the one asked for among them. */
  readonly former: readonly FormerBinding[];
}

interface NativeLock {
  /** flock(2), without waiting: 0 or an errno. The kernel takes the lock back when the descriptor is closed. */
  readonly tryLock: (descriptor: number) => number;
}

/** Longer than any one change takes. */
const LOCK_TIMEOUT_MS = 150_000;
const LOCK_POLL_MS = 10;
const SUFFIX = '.json';

/** Of root for the host, else of the user: systemd's XDG_RUNTIME_DIR, or a folder in the temporary one. */
export function defaultRunDirectory(): string {
  const uid = process.getuid?.() ?? 0;
  if (uid === 0) return '/run/viaduct-passthrough';
  const base = process.env['XDG_RUNTIME_DIR'];
  return base !== undefined && base !== ''
    ? join(base, 'viaduct-passthrough')
    : join(tmpdir(), `viaduct-passthrough-${uid}`);
}

export function isHolderAlive({ pid, startTicks }: LeaseRecord): boolean {
  return processStartTicks(pid) === startTicks;
}

/** The directory while it is locked. */
export interface LockedLeases {
  /** @throws PassthroughError `ERR_PASSTHROUGH_RUN_DIRECTORY` when a file holds no lease. */
  list(): LeaseRecord[];
  put(record: LeaseRecord): void;
  remove(address: string): void;
}

export class LeaseStore {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** The leases as they are written down now; none where there is no directory. */
  list(): LeaseRecord[] {
    return readAll(this.directory);
  }

  /**
   * Runs `body` while no other process changes a lease or a binding. The directory is made for it, and removed when no
   * lease is left in it.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_RUN_DIRECTORY`, `ERR_PASSTHROUGH_TIMEOUT`
   */
  async locked<T>(body: (leases: LockedLeases) => Promise<T>): Promise<T> {
    const { directory } = this;
    const lock = await takeLock(directory);
    try {
      removeUnfinished(directory);
      return await body({
        list: () => readAll(directory),
        put: (record) => put(directory, record),
        remove: (address) => rmSync(join(directory, address + SUFFIX), { force: true }),
      });
    } finally {
      removeIfEmpty(directory);
      closeSync(lock);
    }
  }
}

function fail(directory: string, reason: string, cause?: unknown): never {
  throw new PassthroughError(
    'ERR_PASSTHROUGH_RUN_DIRECTORY',
    `leases can’t be kept in ${directory}: ${reason}`,
    { operands: { directory }, cause },
  );
}

async function takeLock(directory: string): Promise<number> {
  const { tryLock } = addon() as NativeLock;
  const deadline = performance.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    const descriptor = openDirectory(directory);
    let isOurs = false;
    try {
      // One that was removed by the holder before us is not the one that the next comer opens.
      const errno = tryLock(descriptor);
      if (errno !== 0 && errno !== system.errno.EWOULDBLOCK) {
        fail(directory, `flock: errno ${errno}`);
      }
      isOurs = errno === 0 && isStill(directory, descriptor);
    } finally {
      if (!isOurs) closeSync(descriptor);
    }
    if (isOurs) return descriptor;
    if (performance.now() > deadline) {
      throw new PassthroughError(
        'ERR_PASSTHROUGH_TIMEOUT',
        `another process has been changing devices for ${LOCK_TIMEOUT_MS} ms and holds the lock of ${directory}; ` +
          `find it with \`fuser ${directory}\``,
        { operands: { directory } },
      );
    }
    await sleep(LOCK_POLL_MS);
  }
}

function openDirectory(directory: string): number {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const status = lstatSync(directory);
    const uid = process.getuid?.() ?? 0;
    // In a temporary folder anybody could have put it there.
    if (!status.isDirectory() || status.uid !== uid || (status.mode & 0o022) !== 0) {
      return fail(directory, 'it must be a directory that only its owner, this user, can write to');
    }
    return openSync(directory, 'r');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // Removed between the two steps.
    if (code === 'ENOENT' && isDirectory(dirname(directory))) return openDirectory(directory);
    if (cause instanceof PassthroughError) throw cause;
    return fail(
      directory,
      `${code ?? String(cause)}; make it, or name another runDirectory`,
      cause,
    );
  }
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isStill(directory: string, descriptor: number): boolean {
  const now = lstatSync(directory, { throwIfNoEntry: false, bigint: true });
  const locked = fstatSync(descriptor, { bigint: true });
  return now !== undefined && now.ino === locked.ino && now.dev === locked.dev;
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    // It holds leases; or its parent is not ours, and an empty directory is left.
    const { code } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'EACCES', 'EPERM', 'EBUSY', 'ENOENT'].includes(code ?? ''))
      throw error;
  }
}

/** What a process that died while it wrote has left. */
function removeUnfinished(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (name.endsWith('.tmp')) rmSync(join(directory, name), { force: true });
  }
}

function put(directory: string, record: LeaseRecord): void {
  const path = join(directory, record.address + SUFFIX);
  try {
    writeFileSync(`${path}.tmp`, JSON.stringify(record), { mode: 0o644, flag: 'wx' });
    renameSync(`${path}.tmp`, path);
  } catch (cause) {
    rmSync(`${path}.tmp`, { force: true });
    fail(directory, (cause as NodeJS.ErrnoException).code ?? String(cause), cause);
  }
}

function readAll(directory: string): LeaseRecord[] {
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    return fail(directory, (error as NodeJS.ErrnoException).code ?? String(error), error);
  }
  return names
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => readRecord(join(directory, name)))
    .filter((record) => record !== undefined);
}

function readRecord(path: string): LeaseRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    // Released just now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (isRecord(value)) return value;
  return fail(dirname(path), `${path} holds no lease; if no VM uses that device, remove the file`);
}

function isRecord(value: unknown): value is LeaseRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { address, iommuGroup, pid, startTicks, former } = value as Record<string, unknown>;
  return (
    typeof address === 'string' &&
    [iommuGroup, pid, startTicks].every((number) => Number.isSafeInteger(number)) &&
    Array.isArray(former) &&
    former.every(
      (entry: unknown) => typeof (entry as Record<string, unknown>)?.['address'] === 'string',
    )
  );
}
