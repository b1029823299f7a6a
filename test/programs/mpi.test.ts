/** MPI programs over UCX over the software HCA: Open MPI and MPICH, as Debian builds them. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import t from 'tap';

import { packageRoot } from '../../lib/addon/index.js';
import { Running, without } from './running.js';
import { openSurroundings } from './surroundings.js';

const execute = promisify(execFile);
const surroundings = await openSurroundings(t);
const folder = mkdtempSync(join(tmpdir(), 'mpi-'));
t.teardown(() => rmSync(folder, { recursive: true }));

interface Implementation {
  readonly name: string;
  readonly compiler: string;
  readonly package: string;
  /** What starts ranks that have no other way to each other than UCX. */
  readonly launcher: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const IMPLEMENTATIONS: readonly Implementation[] = [
  {
    name: 'Open MPI',
    compiler: 'mpicc.openmpi',
    package: 'libopenmpi-dev openmpi-bin',
    launcher: [
      'mpirun.openmpi',
      '--oversubscribe',
      ...(process.getuid?.() === 0 ? ['--allow-run-as-root'] : []),
      ...['--mca', 'pml', 'ucx', '--mca', 'osc', 'ucx'],
    ],
  },
  {
    name: 'MPICH',
    compiler: 'mpicc.mpich',
    package: 'libmpich-dev mpich',
    launcher: ['mpiexec.mpich'],
    env: { MPIR_CVAR_NOLOCAL: '1' },
  },
];

/** RC connects by datagrams, so UD is there too. */
const TRANSPORTS = { RC: 'rc_verbs,ud_verbs,self', UD: 'ud_verbs,self' };

for (const { name, compiler, package: debianPackage, launcher, env } of IMPLEMENTATIONS) {
  const skip = without(compiler, debianPackage);
  const program = join(folder, compiler);
  const environment = { ...env, UCX_NET_DEVICES: 'softhca0:1' };

  t.before(async () => {
    const source = join(packageRoot, 'test', 'programs', 'mpi', 'exchange.c');
    const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'];
    if (skip === false) await execute(compiler, [...flags, '-o', program, source]);
  });

  for (const [transport, list] of Object.entries(TRANSPORTS)) {
    for (const [ranks, remap] of [
      [2, true],
      [3, false],
    ] as const) {
      const where = remap ? ' between remapped buffers' : '';
      t.test(
        `${ranks} ranks of ${name} exchange data by ${transport}${where}`,
        { skip },
        async (t) => {
          const words = [...launcher, '-n', String(ranks), program];
          const options = { remap, env: { ...environment, UCX_TLS: list } };
          const { status, output } = await new Running(t, surroundings, words, options).ended;
          t.equal(status, 0, 'it ends with status 0', { output });
          t.match(output, `${ranks} ranks agree\n`);
        },
      );
    }
  }

  t.test(`${name} has no other way than the device`, { skip }, async (t) => {
    const words = ['env', '-u', 'LD_PRELOAD', ...launcher, '-n', '2', program];
    const options = { env: { ...environment, UCX_TLS: TRANSPORTS.RC } };
    const { status, output } = await new Running(t, surroundings, words, options).ended;
    t.not(status, 0, 'without it, it fails', { output });
  });
}
