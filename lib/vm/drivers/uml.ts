/** User-Mode Linux: a Linux kernel that is a program of the host, without hardware support or root. */
import { spawn, type StdioOptions } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Duplex, Readable } from 'node:stream';

import { builtExecutable } from '../../addon/index.js';
import { openInitramfs, type ArchiveMember } from '../initramfs.js';
import { programMembers } from '../programs.js';
import { LINE_WINDOW_BYTES } from '../protocol.js';
import type { Driver, MachineRequest, StartedMachine } from './driver.js';
import { Inherited, openAperture } from './inherited.js';
import { findProgram } from './program.js';

const PROGRAM = 'linux.uml';

/**
 * What a guest has no use for and what takes most of the time that its kernel needs to boot: finding the fastest
 * checksum routine of RAID 6 (0.9 s; the kernel goes on with its default), compressed swap, and 512 terminals of the
 * BSD kind.
 */
const QUICK_BOOT = ['initcall_blacklist=raid6_select_algo,init_zswap', 'pty.legacy_count=0'];

/** Where UML keeps its memory; the guard gives each machine a private one where the system permits. */
const SHARED_MEMORY = '/dev/shm';

async function prepare(
  request: MachineRequest,
  signal?: AbortSignal,
): Promise<() => StartedMachine> {
  const program = findProgram(request.name, 'uml', PROGRAM, 'user-mode-linux');
  const { programs } = request;
  const members = programs === undefined ? [] : await programMembers(programs, signal);
  return () => start(program, request, members);
}

function start(
  program: string,
  request: MachineRequest,
  members: readonly ArchiveMember[],
): StartedMachine {
  const scratch = `${SHARED_MEMORY}/viaduct-uml-${randomUUID()}`;
  const inherited = new Inherited();
  try {
    const control = inherited.add('pipe');
    const kernel = [
      `mem=${Math.floor(request.memoryBytes / 1024)}K`,
      `initrd=${inherited.give(openInitramfs({ members }))}`,
      `ssl0=fd:${control},fd:${control}`,
      'ssl=null',
      'con0=null,fd:1',
      'con=null',
      `uml_dir=${scratch}/`,
      'umid=vm',
      'viaduct_channel=/dev/ttyS0',
      ...(request.programs === undefined ? ['viaduct_root=hostfs'] : []),
      ...QUICK_BOOT,
    ];
    if (request.aperturePath !== undefined) {
      const aperture = inherited.give(openAperture(request.name, request.aperturePath));
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
      lineWindowBytes: LINE_WINDOW_BYTES,
      monitor: undefined,
      accelerator: 'none',
      consoles: [stdout, stderr].filter((stream) => stream instanceof Readable),
    };
  } finally {
    inherited.close();
  }
}

function discard(_chunk: unknown, _encoding: string, done: () => void): void {
  done();
}

export const uml: Driver = {
  name: 'uml',
  networkInterface: 'vec0',
  apertureDoor: '/dev/mmapper',
  prepare,
};
