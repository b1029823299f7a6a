/** User-Mode Linux: a Linux kernel that is a program of the host, without hardware support or root. */
import { spawn, type StdioOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { accessSync, closeSync, constants, openSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Duplex, Readable } from 'node:stream';

import { builtExecutable } from '../../addon/index.js';
import { VmError } from '../errors.js';
import { openInitramfs } from '../initramfs.js';
import type { Driver, MachineRequest, StartedMachine } from './driver.js';

const PROGRAM = 'linux.uml';

/**
 * What a guest has no use for and what takes most of the time that its kernel needs to boot: finding the fastest
 * checksum routine of RAID 6 (0.9 s; the kernel goes on with its default), compressed swap, and 512 terminals of the
 * BSD kind.
 */
const QUICK_BOOT = ['initcall_blacklist=raid6_select_algo,init_zswap', 'pty.legacy_count=0'];

/** Where UML keeps its memory; the guard gives each machine a private one where the system permits. */
const SHARED_MEMORY = '/dev/shm';

/** @throws VmError `ERR_VM_DRIVER` */
function findProgram(vm: string): string {
  const path = process.env['PATH'] ?? '';
  for (const directory of path.split(delimiter)) {
    const candidate = join(directory === '' ? '.' : directory, PROGRAM);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // Not in this directory.
    }
  }
  throw new VmError(
    'ERR_VM_DRIVER',
    `driver uml: ${PROGRAM} is not in PATH (${path}); ` +
      'on Debian and Ubuntu install it with `apt-get install user-mode-linux`',
    { vm, call: 'VirtualMachine.boot', operands: { driver: 'uml', path } },
  );
}

function openAperture(request: MachineRequest, path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (cause) {
    throw new VmError('ERR_VM_ARGUMENT', `aperture ${path} can't be opened for writing`, {
      vm: request.name,
      call: 'VirtualMachine.boot',
      operands: { aperture: path },
      cause,
    });
  }
}

/**
 * Descriptors that the machine inherits, in the order of the numbers they have there. UML opens files by path only,
 * so it gets `/proc/self/fd/N`: this works when the machine may not look into /proc/<other process>.
 */
class Inherited {
  readonly stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'pipe', 'pipe'];
  readonly #ours: number[] = [];

  add(descriptor: number | 'pipe'): number {
    this.stdio.push(descriptor);
    return this.stdio.length - 1;
  }

  /** A descriptor of ours that only the machine needs. */
  give(descriptor: number): string {
    this.#ours.push(descriptor);
    return `/proc/self/fd/${this.add(descriptor)}`;
  }

  close(): void {
    for (const descriptor of this.#ours) closeSync(descriptor);
  }
}

function start(request: MachineRequest): StartedMachine {
  const program = findProgram(request.name);
  const scratch = `${SHARED_MEMORY}/viaduct-uml-${randomUUID()}`;
  const inherited = new Inherited();
  try {
    const control = inherited.add('pipe');
    const kernel = [
      `mem=${Math.floor(request.memoryBytes / 1024)}K`,
      `initrd=${inherited.give(openInitramfs())}`,
      `ssl0=fd:${control},fd:${control}`,
      'ssl=null',
      'con0=null,fd:1',
      'con=null',
      `uml_dir=${scratch}/`,
      'umid=vm',
      ...QUICK_BOOT,
    ];
    if (request.aperturePath !== undefined) {
      const aperture = inherited.give(openAperture(request, request.aperturePath));
      kernel.push(`iomem=mmapper,${aperture}`);
    }
    if (request.networkDescriptor !== undefined) {
      const end = inherited.add(request.networkDescriptor);
      kernel.push(`vec0:transport=fd,fd=${end},depth=64,gro=1,mtu=9000`);
    }
    const guard = spawn(
      builtExecutable('viaduct-guard'),
      [
        `--parent`,
        String(process.pid),
        ...(request.cpu === undefined ? [] : ['--cpu', String(request.cpu)]),
        '--kill-tree',
        '--read-only',
        '--tmpfs',
        SHARED_MEMORY,
        '--scratch',
        scratch,
        '--',
        program,
        ...kernel,
      ],
      {
        stdio: inherited.stdio satisfies StdioOptions,
        // TMPDIR would move UML's memory out of the private directory; HOME it only looks for.
        env: { PATH: process.env['PATH'], HOME: '/' },
        cwd: '/',
        // What a terminal sends to its foreground, such as Ctrl-C, is for the owner to act on.
        detached: true,
      },
    );
    const channel = guard.stdio[control];
    const { stdout, stderr } = guard;
    // A guard that could not be started has an 'error' event to come and no streams.
    return {
      guard,
      control: channel instanceof Duplex ? channel : new Duplex({ read() {}, write: discard }),
      consoles: [stdout, stderr].filter((stream) => stream instanceof Readable),
    };
  } finally {
    inherited.close();
  }
}

function discard(_chunk: unknown, _encoding: string, done: () => void): void {
  done();
}

export const uml: Driver = { name: 'uml', networkInterface: 'vec0', start };
