/** How jobs end: with which status and word, and with nothing left. */
import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import {
  allGone,
  descendantsOf,
  Launch,
  pidsIn,
  PRINT_PID,
  programOf,
  shell,
  viaduct,
} from './launcher.js';

const traced = (script: string): string[] => shell(PRINT_PID + script);
const PIDS = /pid (\d+)\n/g;

t.test('a job whose ranks all exit with 0 exits with 0', async (t) => {
  const ended = await viaduct(t, ['run', '-n', '3', ...traced('')]);
  t.equal(ended.status, 0);
  t.equal(ended.stderr, '');
  await allGone(pidsIn(ended.stdout));
});

t.test('the exit status is the highest of the ranks', async (t) => {
  const script = 'if [ $VIADUCT_RANK = 0 ]; then exit 40; fi; sleep 0.2; exit $VIADUCT_RANK';
  const ended = await viaduct(t, ['run', '-n', '3', ...traced(script)]);
  t.equal(ended.status, 40);
  t.equal(ended.stderr, 'viaduct run: rank 0 exited with status 40\n');
});

t.test('when one rank fails the others are ended', async (t) => {
  const script = 'if [ $VIADUCT_RANK = 1 ]; then exit 3; fi; sleep 1000';
  const ended = await viaduct(t, ['run', '-n', '3', ...traced(script)]);
  t.equal(ended.status, 3);
  t.equal(ended.stderr, 'viaduct run: rank 1 exited with status 3\n');
  t.equal(pidsIn(ended.stdout).length, 3);
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that ignores SIGTERM is ended all the same', async (t) => {
  const script = `if [ $VIADUCT_RANK = 1 ]; then sleep 0.3; exit 3; fi
    trap "" TERM; while true; do sleep 0.1; done`;
  const ended = await viaduct(t, ['run', '-n', '2', ...traced(script)]);
  t.equal(ended.status, 3);
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank killed by SIGKILL is named first and gives 128 + 9', async (t) => {
  const launch = new Launch(t, ['run', '-n', '2', ...traced('echo $VIADUCT_RANK; sleep 1000')]);
  const lines = await launch.shown(/\[1\] pid (\d+)\n/g, 1);
  await launch.shown(PIDS, 2);
  process.kill(Number(lines[0]), 'SIGKILL');
  const ended = await launch.ended;
  t.match(ended.stderr, /^viaduct run: rank 1 was killed by SIGKILL \(.+\)\n$/);
  t.equal(ended.status, 137);
  await allGone(pidsIn(ended.stdout));
});

t.test('what a failed rank wrote last comes before the word of its failure', async (t) => {
  const script = 'echo the reason >&2; exit 1';
  const ended = await viaduct(t, ['run', '-n', '1', ...traced(script)]);
  t.equal(ended.stderr, '[0] the reason\nviaduct run: rank 0 exited with status 1\n');
});

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  t.test(`${signal} to the launcher reaches the ranks and ends it with ${status}`, async (t) => {
    const name = signal.slice(3);
    const script = `trap 'echo got ${name}; exit 0' ${name}; while true; do sleep 0.05; done`;
    const launch = new Launch(t, ['run', '-n', '2', ...traced(script)]);
    await launch.shown(PIDS, 2);
    launch.child.kill(signal);
    const ended = await launch.ended;
    t.equal(ended.status, status);
    t.equal(ended.stderr, '');
    t.match(ended.stdout, `[0] got ${name}\n`);
    t.match(ended.stdout, `[1] got ${name}\n`);
    await allGone(pidsIn(ended.stdout));
  });
}

t.test('Ctrl-C in a terminal reaches the ranks once', async (t) => {
  const script = `trap 'echo interrupted; sleep 0.3; exit 0' INT; while true; do sleep 0.05; done`;
  const launch = new Launch(t, ['run', '-n', '2', ...traced(script)]);
  await launch.shown(PIDS, 2);
  launch.signalForeground('SIGINT');
  const ended = await launch.ended;
  t.equal(ended.stdout.match(/interrupted/g)?.length, 2);
  t.equal(ended.status, 130);
  await allGone(pidsIn(ended.stdout));
});

t.test('SIGUSR1 and SIGUSR2 reach the ranks and end nothing', async (t) => {
  const script = `trap 'echo one' USR1; trap 'echo two; exit 0' USR2; while true; do sleep 0.05; done`;
  const launch = new Launch(t, ['run', '-n', '2', ...traced(script)]);
  await launch.shown(PIDS, 2);
  launch.child.kill('SIGUSR1');
  await launch.shown(/one/g, 2);
  launch.child.kill('SIGUSR2');
  const ended = await launch.ended;
  t.equal(ended.stdout.match(/two/g)?.length, 2);
  t.equal(ended.status, 0);
});

t.test('a second SIGINT kills ranks that ignore the first', async (t) => {
  const script = `trap 'echo ignored' INT; while true; do sleep 0.05; done`;
  const launch = new Launch(t, ['run', '-n', '2', ...traced(script)]);
  await launch.shown(PIDS, 2);
  launch.child.kill('SIGINT');
  await launch.shown(/ignored/g, 2);
  // Sooner would look like npm's echo of the first.
  await new Promise((resolve) => setTimeout(resolve, 300));
  launch.child.kill('SIGINT');
  const ended = await launch.ended;
  t.equal(ended.status, 130);
  await allGone(pidsIn(ended.stdout));
});

t.test('ranks and what they started die with a launcher that is killed', async (t) => {
  const script = 'sleep 1000 & echo pid $!; setsid sleep 1000 & echo pid $!; wait';
  const launch = new Launch(t, ['run', '-n', '2', ...traced(script)]);
  const pids = await launch.shown(PIDS, 6);
  launch.child.kill('SIGKILL');
  await launch.ended;
  await allGone(pids);
});

t.test('a rank dies with its guard, and the job with it', async (t) => {
  const launch = new Launch(t, ['run', '-n', '2', ...traced('sleep 1000')]);
  await launch.shown(PIDS, 2);
  const below = descendantsOf(launch.pid);
  const guard = below.find((pid) => programOf(pid) === 'viaduct-guard');
  if (guard === undefined) throw new Error('the ranks have no guard');
  process.kill(guard, 'SIGKILL');
  const ended = await launch.ended;
  t.match(ended.stderr, /^viaduct run: rank \d was killed by SIGKILL/);
  t.equal(ended.status, 137);
  await allGone(below);
});

t.test('a limit of the system is told with its remedy', async (t) => {
  const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));
  const script = `ulimit -n 60; exec "${process.execPath}" "${main}" run -n 60 -- true`;
  const { status, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
  t.match(stderr, /^viaduct run: rank \d+ could not be started: .*EMFILE; raise .*ulimit -n/);
  t.equal(status, 1);
});

t.test('what a rank started dies with it', async (t) => {
  const script = 'sleep 1000 & echo pid $!; setsid sleep 1000 & echo pid $!; exit 0';
  const ended = await viaduct(t, ['run', '-n', '2', ...traced(script)]);
  t.equal(ended.status, 0);
  t.equal(pidsIn(ended.stdout).length, 6);
  await allGone(pidsIn(ended.stdout));
});

t.test('--timeout ends a job that takes longer with status 124', async (t) => {
  const args = ['run', '-n', '2', '--timeout', '0.5', ...traced('sleep 1000')];
  const ended = await viaduct(t, args);
  t.equal(ended.status, 124);
  t.match(
    ended.stderr,
    /^viaduct run: the job did not end within 0.5 s; still running: rank 0, 1\n$/,
  );
  await allGone(pidsIn(ended.stdout));
});

t.test('a program that cannot be executed fails with its reason', async (t) => {
  const folder = t.testdir({ broken: '#!/no/such/interpreter\n' });
  chmodSync(`${folder}/broken`, 0o755);
  const ended = await viaduct(t, ['run', '-n', '1', '--', `${folder}/broken`]);
  t.equal(ended.status, 127);
  t.match(ended.stderr, /broken/);
  t.match(ended.stderr, /viaduct run: rank 0 exited with status 127/);
});
