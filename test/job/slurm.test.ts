/** The same programs under Slurm, on two of its nodes that are both this machine. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { SlurmCluster, slurmIsMissing } from './slurm-cluster.js';

const program = (name: string): string[] => [
  process.execPath,
  fileURLToPath(new URL(`programs/${name}.js`, import.meta.url)),
];

const missing = slurmIsMissing();
if (missing !== undefined) {
  t.plan(0, missing);
} else {
  const cluster = await SlurmCluster.start(t.testdir({}));
  t.teardown(() => cluster.stop());

  t.test(
    'ranks of srun --mpi=pmi2 exchange messages, across nodes that are one host',
    async (t) => {
      for (const ranks of [1, 2, 4]) {
        const nodes = Math.min(2, ranks);
        const { status, stdout, stderr } = await cluster.srun([
          '--mpi=pmi2',
          `-N${nodes}`,
          `-n${ranks}`,
          ...program('ring'),
        ]);
        t.equal(stderr, '');
        t.equal(stdout, `sum ${(ranks * (ranks - 1)) / 2}\n`);
        t.equal(status, 0);
      }
    },
  );

  t.test('without PMI-1 a rank says which option it needs', async (t) => {
    const { status, stderr } = await cluster.srun(['--mpi=none', '-N1', '-n2', ...program('ring')]);
    t.match(stderr, /ERR_MPI_LAUNCHER/);
    t.match(stderr, /started as one of 2 by srun without PMI-1; start it by srun --mpi=pmi2/);
    t.not(status, 0);
  });

  t.test('a single task without PMI-1 is a world of one', async (t) => {
    const { status, stdout } = await cluster.srun(['--mpi=none', '-N1', '-n1', ...program('ring')]);
    t.equal(stdout, 'sum 0\n');
    t.equal(status, 0);
  });

  t.test('ranks find a peer that was killed although srun does not tell', async (t) => {
    const { status, stderr } = await cluster.srun([
      '--mpi=pmi2',
      '--kill-on-bad-exit=0',
      '-N2',
      '-n2',
      ...program('misfortune'),
      'die',
    ]);
    t.match(stderr, /rank 0 saw: .*rank 1 failed.*ended without finalizing/);
    t.not(status, 0);
  });
}
