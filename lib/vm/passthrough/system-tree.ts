/** The host as files: sysfs, /dev and /proc below one root, so that a recorded tree can stand in for a host. */
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { constants as system } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { PassthroughError } from './errors.js';

/** What reading gives when a device went away meanwhile, or its driver does not know the attribute. */
const ABSENT = new Set([
  'ENOENT',
  'ENOTDIR',
  'ENODEV',
  'ENXIO',
  'EINVAL',
  'EIO',
  'EOPNOTSUPP',
  'ELOOP',
]);

/** How long the kernel may take for one change, such as starting a driver on 127 virtual functions. */
const WRITE_TIMEOUT_MS = 120_000;

export class SystemTree {
  readonly rootPath: string;
  /** The program ip of iproute2, which acts on the running kernel: a recorded tree has none. */
  readonly ipCommand: string | undefined;

  constructor(rootPath = '/', ipCommand = rootPath === '/' ? 'ip' : undefined) {
    this.rootPath = rootPath;
    this.ipCommand = ipCommand;
  }

  path(path: string): string {
    return join(this.rootPath, path);
  }

  exists(path: string): boolean {
    return existsSync(this.path(path));
  }

  /** The text of an attribute without white space around it; undefined where there is none. */
  read(path: string): string | undefined {
    return unlessAbsent(() => readFileSync(this.path(path), 'utf8').trim());
  }

  /** A number as sysfs writes it, decimal or `0x…`; undefined where there is none. */
  readNumber(path: string): number | undefined {
    const text = this.read(path);
    if (text === undefined || !/^-?(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
    return Number(text);
  }

  /** Names in a directory, sorted; none where there is no directory. */
  list(path: string): string[] {
    return unlessAbsent(() => readdirSync(this.path(path)).sort()) ?? [];
  }

  /** Where a symbolic link points, as it is written. */
  link(path: string): string | undefined {
    return unlessAbsent(() => readlinkSync(this.path(path)));
  }

  /** The last part of where a symbolic link points: sysfs names drivers, groups and devices so. */
  linkName(path: string): string | undefined {
    const target = this.link(path);
    return target === undefined ? undefined : basename(target);
  }

  /** The last part of the path that all symbolic links lead to; undefined for a link that leads nowhere. */
  realName(path: string): string | undefined {
    return unlessAbsent(() => basename(realpathSync(this.path(path))));
  }

  /** Whether this process may write the file, or read and write the device. */
  mayUse(path: string, mode: 'write' | 'read-write'): boolean {
    try {
      accessSync(
        this.path(path),
        mode === 'write' ? constants.W_OK : constants.W_OK | constants.R_OK,
      );
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Writes an attribute by one system call, as sysfs wants it. The kernel acts on it before the call returns.
   *
   * @throws PassthroughError `ERR_PASSTHROUGH_SYSFS` with the kernel's reason, `ERR_PASSTHROUGH_TIMEOUT`.
   */
  async write(path: string, text: string): Promise<void> {
    const full = this.path(path);
    const done = new AbortController();
    try {
      await Promise.race([
        writeOnce(full, text),
        sleep(WRITE_TIMEOUT_MS, undefined, { signal: done.signal, ref: false }).then(() => {
          throw new PassthroughError(
            'ERR_PASSTHROUGH_TIMEOUT',
            `the kernel has not finished "${text}" in ${full} for ${WRITE_TIMEOUT_MS} ms; ` +
              'it waits for whoever uses the device: end that program, and see dmesg',
            { operands: { path: full, text } },
          );
        }),
      ]);
    } catch (cause) {
      if (cause instanceof PassthroughError) throw cause;
      const { code = 'unknown error', errno } = cause as NodeJS.ErrnoException;
      throw new PassthroughError(
        'ERR_PASSTHROUGH_SYSFS',
        `the kernel refused "${text}" in ${full}: ${code}`,
        {
          operands: { path: full, text, code },
          cause,
          ...(errno === undefined ? {} : { errno: -errno }),
        },
      );
    } finally {
      done.abort();
    }
  }
}

async function writeOnce(path: string, text: string): Promise<void> {
  // Neither created nor truncated: an attribute is there or it is not.
  const file = await open(path, constants.O_WRONLY);
  try {
    await file.write(text);
  } finally {
    await file.close();
  }
}

function unlessAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** Whether an error is the kernel's refusal with that errno, such as `EBUSY`. */
export function refusedWith(error: unknown, name: keyof typeof system.errno): boolean {
  return error instanceof PassthroughError && error.errno === system.errno[name];
}
