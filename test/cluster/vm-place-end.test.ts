/** How jobs in virtual machines end: with nothing left of the machines. */
import t from 'tap';

import {
  allGone,
  descendantsOf,
  Launch,
  programOf,
  rankProgram,
  shell,
  viaduct,
} from '../command/launcher.js';
import { withoutUml } from '../uml-installed.js';

t.test(
  'when a rank fails in its machine the others are ended and the status is its',
  { skip: withoutUml },
  async (t) => {
    const script = 'echo up; if [ $VIADUCT_RANK = 1 ]; then echo why >&2; exit 7; fi; sleep 1000';
    const launch = new Launch(t, ['run', '--vm', '-n', '2', ...shell(script)]);
    await launch.shown(/up/g, 1);
    const below = descendantsOf(launch.pid);
    const ended = await launch.ended;
    t.equal(ended.stderr, '[1] why\nviaduct run: rank 1 exited with status 7\n');
    t.equal(ended.status, 7);
    await allGone(below);
  },
);

t.test(
  'a rank killed in its machine in the middle of a message is named',
  { skip: withoutUml },
  async (t) => {
    const ended = await viaduct(t, ['run', '--vm', '-n', '2', ...rankProgram('misfortune', 'die')]);
    t.match(ended.stdout, '[0] streaming\n');
    t.match(ended.stderr, /^viaduct run: rank 1 was killed by SIGKILL/);
    t.match(ended.stderr, /\[0\] rank 0 saw: .*rank 1.* was killed by SIGKILL/);
    t.equal(ended.status, 137);
  },
);

t.test(
  'a machine that is killed fails its rank and the others are told',
  { skip: withoutUml },
  async (t) => {
    const launch = new Launch(t, [
      'run',
      '--vm',
      '-n',
      '2',
      ...rankProgram('misfortune', 'stream'),
    ]);
    await launch.shown(/streaming/g, 1);
    const below = descendantsOf(launch.pid);
    const guard = below.find((pid) => programOf(pid) === 'viaduct-guard');
    if (guard === undefined) throw new Error('the machines have no guard');
    process.kill(guard, 'SIGKILL');
    const ended = await launch.ended;
    t.match(ended.stderr, /^viaduct run: rank \d was lost: VM rank-\d: /m);
    t.equal(ended.status, 5, 'that of the peer, which gave up');
    await allGone(below);
  },
);

t.test('machines die with a launcher that is killed', { skip: withoutUml }, async (t) => {
  const launch = new Launch(t, ['run', '--vm', '-n', '2', ...shell('echo up; sleep 1000')]);
  await launch.shown(/up/g, 2);
  const below = descendantsOf(launch.pid);
  t.ok(below.length >= 4, `${below.length} processes`);
  launch.child.kill('SIGKILL');
  await launch.ended;
  await allGone(below);
});

t.test(
  'Ctrl-C reaches the ranks in their machines, and reaches them once',
  { skip: withoutUml },
  async (t) => {
    const script = "trap 'echo got it; exit 0' INT; echo up; while true; do sleep 0.1; done";
    const launch = new Launch(t, ['run', '--vm', '-n', '2', ...shell(script)]);
    await launch.shown(/up/g, 2);
    const below = descendantsOf(launch.pid);
    launch.signalForeground('SIGINT');
    const ended = await launch.ended;
    t.equal(ended.status, 130);
    t.equal(ended.stdout.match(/got it/g)?.length, 2);
    await allGone(below);
  },
);

t.test('without the program of the driver the remedy is told', async (t) => {
  const args = ['run', '--vm', '-n', '2', '--', process.execPath, '-e', '0'];
  const ended = await viaduct(t, args, { env: { PATH: t.testdir({}) } });
  t.match(ended.stderr, /^viaduct run: rank \d could not be started: VM rank-\d: .*install/);
  t.equal(ended.stderr.match(/viaduct run: /g)?.length, 1);
  t.equal(ended.status, 1);
});

t.test(
  'a machine that is stopped is found by the heartbeat of its rank, and named',
  { skip: withoutUml },
  async (t) => {
    const job = ['run', '--vm', '-n', '2', '--heartbeat', '2'];
    const launch = new Launch(t, [...job, ...rankProgram('misfortune', 'stream')]);
    await launch.shown(/streaming/g, 1);
    const below = descendantsOf(launch.pid);
    const kernels = below.filter((pid) => programOf(pid).startsWith('linux'));
    // All threads and processes of one User-Mode Linux run in its kernel's process.
    process.kill(kernels[0], 'SIGSTOP');
    const ended = await launch.ended;
    t.match(
      ended.stderr,
      /viaduct run: rank [01] has given no sign of life for 2 s: its virtual machine is stopped or hangs\n/,
    );
    t.not(ended.status, 0);
    await allGone(below);
  },
);
