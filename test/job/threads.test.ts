/** Ranks that are threads of one process. */
import t from 'tap';

import { runJob, ThreadPlace } from '../../lib/job/index.js';
import { allGone, Launch, pidsIn, rankProgram, viaduct } from '../command/launcher.js';
import { Lines } from '../lines.js';
import { runScenarios } from '../mpi/run-scenarios.js';

const threads = (t: Parameters<typeof viaduct>[0], size: number, ...args: string[]) =>
  viaduct(t, ['run', '--threads', '-n', `${size}`, ...args]);

for (const choice of ['single-copy', 'fragments']) {
  t.test(`threads pass all scenarios of messages, with ${choice}`, (t) =>
    runScenarios(t, 3, { VIADUCT_LONG_MESSAGES: choice }, new ThreadPlace()),
  );
}

t.test('threads are ranks of one process, with their lines labelled', async (t) => {
  const script = `
    const { isMainThread } = require('worker_threads');
    console.log(isMainThread, process.env.VIADUCT_RANK, process.argv.slice(2).join());
    console.error('pid ' + process.pid);`;
  const folder = t.testdir({ 'app.cjs': script });
  const args = ['--cwd', folder, '--', 'node', '--no-warnings', 'app.cjs', 'a', '-b'];
  const ended = await threads(t, 2, ...args);
  t.strictSame(ended.stdout.split('\n').sort(), ['', '[0] false 0 a,-b', '[1] false 1 a,-b']);
  t.equal(new Set(pidsIn(ended.stderr)).size, 1);
  t.equal(ended.status, 0);
  await allGone(pidsIn(ended.stderr));
});

t.test('all that a thread has written comes out before its end', async (t) => {
  const script = `for (let i = 0; i < 20000; i++) console.log('line ' + i); process.exitCode = 3;`;
  const folder = t.testdir({ 'app.cjs': script });
  const ended = await threads(t, 2, '--no-label', '--', 'node', `${folder}/app.cjs`);
  t.equal(ended.stdout.split('\n').length - 1, 40_000);
  t.equal(ended.status, 3);
});

t.test('the first thread reads the standard input', async (t) => {
  const script = `let n = 0; process.stdin.on('data', (c) => n += c.length).on('end', () => console.log(n))`;
  const folder = t.testdir({ 'app.cjs': script });
  const launch = new Launch(t, ['run', '--threads', '-n', '2', '--', 'node', `${folder}/app.cjs`], {
    input: 'x'.repeat(100_000),
  });
  const ended = await launch.ended;
  t.strictSame(ended.stdout.split('\n').sort(), ['', '[0] 100000', '[1] 0']);
});

t.test('a thread that throws shows its stack, and the others learn of it', async (t) => {
  const ended = await threads(t, 3, ...rankProgram('misfortune', 'throw'));
  t.match(ended.stderr, /\[1\] Error: the mesh is broken\n\[1\]\s+at /);
  t.match(ended.stderr, /viaduct run: rank 1 exited with status 1\n/);
  t.match(ended.stderr, /\[0\] rank 0 saw: .*rank 1 failed: exited with status 1/);
  t.equal(ended.status, 5);
  await allGone(pidsIn(ended.stdout));
});

t.test('a thread that leaves without finalizing is a failure', async (t) => {
  const ended = await threads(t, 3, ...rankProgram('misfortune', 'leave'));
  t.match(ended.stderr, /^viaduct run: rank 1 exited without finalizing/);
  await allGone(pidsIn(ended.stdout));
});

t.test('a process that is killed takes all its threads along', async (t) => {
  const ended = await threads(t, 3, ...rankProgram('misfortune', 'die'));
  t.match(ended.stderr, /^viaduct run: rank \d was killed by SIGKILL/);
  t.equal(ended.status, 137);
  await allGone(pidsIn(ended.stdout));
});

t.test('Ctrl-C ends threads that wait in a blocking call', async (t) => {
  const folder = t.testdir({
    'app.mjs': `
      import { init } from '${import.meta.resolve('../../lib/mpi/index.js')}';
      const { world } = await init();
      console.log('pid ' + process.pid);
      setTimeout(() => world.recvSync(new Uint8Array(1), 1 - world.rank, 1), 100);`,
  });
  const launch = new Launch(t, ['run', '--threads', '-n', '2', '--', 'node', `${folder}/app.mjs`]);
  await launch.shown(/pid (\d+)/g, 2);
  await new Promise((resolve) => setTimeout(resolve, 500));
  launch.signalForeground('SIGINT');
  const ended = await launch.ended;
  t.equal(ended.status, 130);
  await allGone(pidsIn(ended.stdout));
});

t.test('what is no script of Node.js is refused', async (t) => {
  for (const args of [['sh', '-c', 'true'], ['node', '-v'], ['node']]) {
    const [command = '', ...rest] = args;
    const place = new ThreadPlace();
    const { failure } = await runJob({ size: 1, command, args: rest, place, stderr: new Lines() });
    t.match(failure?.message, /threads run scripts of Node.js: node .* SCRIPT/);
  }
  const ended = await threads(t, 2, '--vm', 'node', 'app.js');
  t.match(ended.stderr, /--threads runs all ranks in one process: leave out --vm/);
  t.equal(ended.status, 2);
});
