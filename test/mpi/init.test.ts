/** Joining a job: what a process needs for it, and what it is told when that is missing. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import t from 'tap';

import { Aperture } from '../../lib/aperture/index.js';
import { apertureSizeBytes, formatAperture } from '../../lib/mpi/index.js';

const run = promisify(execFile);

/** Runs a module with these variables; yields its exit status and what it wrote. */
async function runModule(source: string, env: Record<string, string>) {
  const without = { ...process.env };
  for (const name of Object.keys(without)) if (name.startsWith('VIADUCT_')) delete without[name];
  try {
    const { stdout, stderr } = await run(
      process.execPath,
      ['--input-type=module', '--eval', source],
      { env: { ...without, ...env } },
    );
    return { exitCode: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { exitCode: code, stdout, stderr };
  }
}

const join = `
  import { init } from 'viaduct/mpi';
  const { world, finalize } = await init();
  console.log(world.rank, world.size);
  await finalize();`;

t.test('a program that nobody launched is a world of one', async (t) => {
  const { exitCode, stdout } = await runModule(join, {});
  t.equal(stdout, '0 1\n');
  t.equal(exitCode, 0);
});

t.test('a program that does not finalize does so when it has nothing more to do', async (t) => {
  const { exitCode } = await runModule(`import { init } from 'viaduct/mpi'; await init();`, {});
  t.equal(exitCode, 0);
});

t.test('a process joins once', async (t) => {
  const { exitCode, stderr } = await runModule(
    `import { init } from 'viaduct/mpi'; await init(); await init();`,
    {},
  );
  t.match(stderr, /ERR_MPI_STATE/);
  t.equal(exitCode, 1);
});

for (const [rank, size] of [
  ['2', '2'],
  ['-1', '2'],
  ['0', '0'],
  ['x', '2'],
  ['0', ''],
] as const) {
  t.test(`rank '${rank}' of '${size}' is refused`, async (t) => {
    const { exitCode, stderr } = await runModule(join, { VIADUCT_RANK: rank, VIADUCT_SIZE: size });
    t.match(stderr, /ERR_MPI_ENVIRONMENT/);
    t.equal(exitCode, 1);
  });
}

const strangers: [Record<string, string>, RegExp][] = [
  [
    { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '1', PMIX_RANK: '1' },
    /one of 4 by mpirun of Open MPI, which speaks PMIx; start it by viaduct run -n N, or mpiexec.hydra/,
  ],
  [{ SLURM_STEP_NUM_TASKS: '2', SLURM_PROCID: '1' }, /one of 2 by srun .*srun --mpi=pmi2/],
  [{ PMIX_RANK: '0' }, /PMIX_RANK=0: .*viaduct run -n N, mpiexec.hydra -n N or srun --mpi=pmi2/],
  [{ PMI_FD: '77', PMI_RANK: '0', PMI_SIZE: '2' }, /PMI_FD=77 did not reach this process/],
  [{ PMI_PORT: 'nowhere' }, /PMI_PORT=nowhere is not host:port/],
  [{ PMI_PORT: '127.0.0.1:1', PMI_ID: '0' }, /the launcher has closed its connection/],
];
for (const [env, message] of strangers) {
  t.test(`${Object.keys(env).join(', ')}: the launcher to use is named`, async (t) => {
    const { exitCode, stderr } = await runModule(join, env);
    t.match(stderr, message);
    t.match(stderr, /ERR_MPI_LAUNCHER/);
    t.equal(exitCode, 1);
  });
}

t.test('a launcher of one rank whose protocol is not known starts a world of one', async (t) => {
  for (const env of [
    { OMPI_COMM_WORLD_SIZE: '1', PMIX_RANK: '0' },
    { SLURM_STEP_NUM_TASKS: '1' },
  ]) {
    const { exitCode, stdout } = await runModule(join, env);
    t.equal(stdout, '0 1\n');
    t.equal(exitCode, 0);
  }
});

t.test('a missing aperture is named', async (t) => {
  const { exitCode, stderr } = await runModule(join, {
    VIADUCT_RANK: '0',
    VIADUCT_SIZE: '2',
    VIADUCT_APERTURE: '/proc/self/fd/12345',
  });
  t.match(stderr, /no aperture at \/proc\/self\/fd\/12345/);
  t.match(stderr, /ERR_APERTURE_MISSING/);
  t.equal(exitCode, 1);
});

t.test('a file that is no aperture is refused', async (t) => {
  const { exitCode, stderr } = await runModule(join, {
    VIADUCT_RANK: '0',
    VIADUCT_SIZE: '2',
    VIADUCT_APERTURE: fileURLToPath(import.meta.url),
  });
  t.match(stderr, /ERR_APERTURE_FOREIGN/);
  t.equal(exitCode, 1);
});

t.test('an aperture without queues, or made for another number of ranks, is refused', async (t) => {
  using aperture = Aperture.create({ sizeBytes: apertureSizeBytes(3), participants: 3 });
  const env = { VIADUCT_RANK: '0', VIADUCT_SIZE: '2', VIADUCT_APERTURE: aperture.path };
  t.match((await runModule(join, env)).stderr, /holds no message queues/);
  formatAperture(aperture, 3);
  const { exitCode, stderr } = await runModule(join, env);
  t.match(stderr, /was made for 3 ranks, not for 2/);
  t.equal(exitCode, 1);
  t.equal(aperture.participants.state(0), 'empty', 'it did not attach');
});

t.test('two processes cannot be the same rank', async (t) => {
  using aperture = Aperture.create({ sizeBytes: apertureSizeBytes(2), participants: 2 });
  formatAperture(aperture, 2);
  aperture.attach(0);
  const { stderr } = await runModule(join, {
    VIADUCT_RANK: '0',
    VIADUCT_SIZE: '2',
    VIADUCT_APERTURE: aperture.path,
  });
  t.match(stderr, /ERR_APERTURE_PARTICIPANT/);
});

t.test('several threads of a process are ranks of their own, and none is another’s', async (t) => {
  using aperture = Aperture.create({ sizeBytes: apertureSizeBytes(3), participants: 3 });
  formatAperture(aperture, 3);
  const { exitCode, stdout, stderr } = await runModule(
    `import { Worker } from 'node:worker_threads';
     import { init } from 'viaduct/mpi';
     const source = \`
       import('viaduct/mpi').then(async ({ init }) => {
         try {
           const job = await init();
           await job.world.send(Int32Array.of(job.world.rank), 0, 3);
           await job.finalize();
         } catch ({ code, message }) {
           console.log(code, message);
         }
       });\`;
     const { world, finalize } = await init();
     const start = (rank) => new Worker(source, { eval: true, env: { ...process.env, VIADUCT_RANK: rank } });
     const refused = new Promise((resolve) => start('0').once('exit', resolve));
     start('1');
     start('2');
     const word = new Int32Array(1);
     for (const source of [2, 1]) {
       await world.recv(word, source, 3);
       console.log(word[0]);
     }
     await refused;
     await finalize();`,
    { VIADUCT_RANK: '0', VIADUCT_SIZE: '3', VIADUCT_APERTURE: aperture.path },
  );
  t.equal(stderr, '');
  t.match(stdout, /^2\n(.*\n)?1$/m, 'in the order of the receives');
  t.match(stdout, /ERR_MPI_THREAD init: rank 0 belongs to another thread of this process/);
  t.equal(exitCode, 0);
});

t.test('an unknown protocol for long messages is refused', async (t) => {
  using aperture = Aperture.create({ sizeBytes: apertureSizeBytes(2), participants: 2 });
  formatAperture(aperture, 2);
  const { stderr } = await runModule(join, {
    VIADUCT_RANK: '0',
    VIADUCT_SIZE: '2',
    VIADUCT_APERTURE: aperture.path,
    VIADUCT_LONG_MESSAGES: 'pigeons',
  });
  t.match(stderr, /one of 'single-copy', 'fragments', .*, not 'pigeons'/);
});
