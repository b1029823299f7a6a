/** The machine and the versions that figures belong to. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { packageRoot } from '../lib/addon/index.js';

const execute = promisify(execFile);

export interface Machine {
  readonly date: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly operatingSystem: string;
  readonly kernel: string;
  /** Load average of the last minute before the run: above some tenths, others were using the cores. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
}

async function osName(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? 'Linux';
}

/** The version of the User-Mode Linux kernel, or undefined where it is not installed. */
async function umlVersion(): Promise<string | undefined> {
  try {
    return (await execute('linux.uml', ['--version'])).stdout.trim();
  } catch {
    return undefined;
  }
}

export async function viaductVersion(): Promise<string> {
  const text = await readFile(join(packageRoot, 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  return version;
}

export async function describeMachine(peerNames: readonly string[]): Promise<Machine> {
  const uml = await umlVersion();
  return {
    date: new Date().toISOString(),
    processor: cpus()[0]?.model.trim() ?? process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    operatingSystem: await osName(),
    kernel: release(),
    loadBefore: loadavg()[0] ?? 0,
    versions: {
      viaduct: await viaductVersion(),
      'Node.js': process.versions.node,
      V8: process.versions.v8,
      ...(uml === undefined ? {} : { 'User-Mode Linux': uml }),
      ...Object.fromEntries(
        peerNames.map((name) => [name.replace(/ [^ ]*$/, ''), name.replace(/^.* /, '')]),
      ),
    },
  };
}
