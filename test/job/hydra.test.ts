/** The same programs under MPICH's launcher, and MPICH's programs under ours. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import t from 'tap';

import { viaduct } from '../command/launcher.js';
import { compileExchange, EXCHANGE, withoutMpich } from './mpich-program.js';

const run = promisify(execFile);
const program = (name: string): string[] => [
  process.execPath,
  fileURLToPath(new URL(`programs/${name}.js`, import.meta.url)),
];

async function mpiexec(args: readonly string[], env: Record<string, string> = {}) {
  try {
    const { stdout, stderr } = await run('mpiexec.hydra', args, {
      env: { ...process.env, ...env },
      timeout: 60_000,
    });
    return { status: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

if (withoutMpich !== false) {
  t.plan(0, withoutMpich);
} else {
  for (const [how, options] of [
    ['an inherited descriptor', []],
    ['a port', ['-pmi-port']],
  ] as const) {
    t.test(`ranks of mpiexec meet by ${how}`, async (t) => {
      for (const size of [1, 2, 5]) {
        const ended = await mpiexec([...options, '-n', `${size}`, ...program('ring')]);
        t.equal(ended.stderr, '');
        t.equal(ended.stdout, `sum ${(size * (size - 1)) / 2}\n`);
        t.equal(ended.status, 0);
      }
    });
  }

  t.test('a connection that a program between lost is told with the remedy', async (t) => {
    const script = `require('child_process').execFileSync(process.execPath,
      ${JSON.stringify(program('ring').slice(1))}, { stdio: 'inherit' })`;
    const { status, stderr } = await mpiexec(['-n', '1', process.execPath, '-e', script]);
    t.match(stderr, /ERR_MPI_LAUNCHER/);
    t.match(stderr, /PMI_FD=\d+ did not reach this process; let the launcher start node itself/);
    t.not(status, 0);
  });

  t.test('when the first rank can not make the memory, every rank says so', async (t) => {
    // Room for the ranks themselves, not for the queues of as many ranks as these.
    const { status, stderr } = await mpiexec([
      '-disable-auto-cleanup',
      '-n',
      '2',
      'prlimit',
      `--fsize=${1 << 20}`,
      ...program('ring'),
    ]);
    t.match(stderr, /Aperture.create: /);
    t.match(stderr, /rank 0 could not make the job's memory/);
    t.not(status, 0);
  });

  t.test('jobs within ranks of other jobs know their own', async (t) => {
    const inner = ['mpiexec.hydra', '-n', '3', ...program('ring')];
    const ours = await viaduct(t, ['run', '-n', '2', '--', ...inner]);
    t.equal(ours.stderr, '');
    t.strictSame(ours.stdout.split('\n').sort(), ['', '[0] sum 3', '[1] sum 3']);
    const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));
    const theirs = await mpiexec([
      '-n',
      '2',
      process.execPath,
      main,
      'run',
      '-n',
      '2',
      '--',
      ...program('ring'),
    ]);
    t.equal(theirs.stderr, '');
    t.equal(theirs.stdout, '[0] sum 1\n'.repeat(2));
  });

  const exchange = compileExchange(t.testdir({ 'exchange.c': EXCHANGE }));

  t.test('programs built with MPICH run under viaduct run', async (t) => {
    for (const size of [1, 2, 4]) {
      const ended = await viaduct(t, ['run', '-n', `${size}`, '--no-label', '--', exchange]);
      t.equal(ended.stdout, `sum ${(size * (size - 1)) / 2}\n`.repeat(size));
      t.equal(ended.stderr, '');
      t.equal(ended.status, 0);
    }
  });

  t.test('MPI_Abort ends the job with its status', async (t) => {
    const ended = await viaduct(t, ['run', '-n', '3', '--', exchange, 'abort']);
    t.match(ended.stderr, /viaduct run: rank 1 aborted the job with status 7\n/);
    t.equal(ended.status, 7);
  });

  t.test('a program built with MPICH that leaves without MPI_Finalize is a failure', async (t) => {
    const ended = await viaduct(t, ['run', '-n', '3', '--', exchange, 'exit']);
    t.match(ended.stderr, /viaduct run: rank 1 exited without finalizing/);
    t.equal(ended.status, 1);
  });
}
