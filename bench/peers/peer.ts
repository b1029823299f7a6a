/** C MPI libraries that Debian packages: finds them, compiles our C programs with them and runs those. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { packageRoot } from '../../lib/addon/index.js';
import { parseRankResult } from '../measurement.js';
import type { RankResult } from '../measurement.js';
import type { PeerRun } from '../plan.js';
import { runLines } from '../process-lines.js';

const execute = promisify(execFile);

interface Library {
  readonly name: string;
  readonly packages: string;
  readonly compiler: string;
  readonly launcher: string;
  launcherArgs(pinned: boolean): string[];
}

const libraries: readonly Library[] = [
  {
    name: 'MPICH',
    packages: 'mpich libmpich-dev',
    compiler: 'mpicc.mpich',
    launcher: 'mpiexec.mpich',
    launcherArgs: (pinned) => (pinned ? ['-bind-to', 'core'] : []),
  },
  {
    name: 'Open MPI',
    packages: 'openmpi-bin libopenmpi-dev',
    compiler: 'mpicc.openmpi',
    launcher: 'mpirun.openmpi',
    launcherArgs: (pinned) => [
      ...(process.getuid?.() === 0 ? ['--allow-run-as-root'] : []),
      ...(pinned ? ['--bind-to', 'core'] : ['--oversubscribe', '--bind-to', 'none']),
    ],
  },
];

/** A library that is here, with our programs compiled for it. */
export interface Peer {
  /** `MPICH 4.0.2`. */
  readonly name: string;
  readonly launcher: string;
  readonly launcherArgs: readonly string[];
  readonly programs: { readonly latency: string; readonly bandwidth: string };
}

async function versionOf(library: Library): Promise<string | undefined> {
  try {
    await execute(library.compiler, ['--version']);
    const { stdout } = await execute(library.launcher, ['--version']);
    return /\d+(\.\d+)+/.exec(stdout)?.[0];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function compile(library: Library): Promise<Peer['programs']> {
  const folder = join(packageRoot, 'build', 'peers', library.compiler);
  await mkdir(folder, { recursive: true });
  const build = async (benchmark: string): Promise<string> => {
    const program = join(folder, benchmark);
    const source = join(packageRoot, 'bench', 'peers', `${benchmark}.c`);
    // gcc 12 takes MPICH's MPI_STATUSES_IGNORE, an address of 1, for an array that is too small.
    const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Wno-stringop-overflow'];
    await execute(library.compiler, [...flags, '-o', program, source]);
    return program;
  };
  return { latency: await build('latency'), bandwidth: await build('bandwidth') };
}

/** @returns the libraries that are installed, and a sentence for each that is not */
export async function findPeers(): Promise<{ peers: Peer[]; missing: string[] }> {
  const peers: Peer[] = [];
  const missing: string[] = [];
  for (const library of libraries) {
    const version = await versionOf(library);
    if (version === undefined) {
      missing.push(
        `${library.name} is not measured: ${library.compiler} or ${library.launcher} is missing; ` +
          `apt-get install ${library.packages}`,
      );
      continue;
    }
    peers.push({
      name: `${library.name} ${version}`,
      launcher: library.launcher,
      launcherArgs: library.launcherArgs(cpus().length >= 2),
      programs: await compile(library),
    });
  }
  return { peers, missing };
}

/** @throws Error with what the program said when it fails */
export async function runPeer(
  { peer, steps }: PeerRun<Peer>,
  samples: number,
  onResult: (result: RankResult) => void,
  signal: AbortSignal,
): Promise<void> {
  for (const { benchmark, sizes } of steps) {
    await runLines(
      `${benchmark} over ${peer.name}`,
      peer.launcher,
      [
        ...peer.launcherArgs,
        ...['-n', '2', peer.programs[benchmark]],
        ...[samples, ...sizes].map(String),
      ],
      { signal, onLine: (line) => onResult(parseRankResult(line)) },
    );
  }
}
