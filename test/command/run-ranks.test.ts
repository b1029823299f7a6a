/** Jobs of ranks that talk to each other, and what the others see when one goes away. */
import t from 'tap';

import { allGone, Launch, pidsIn, rankProgram, viaduct, type Ended } from './launcher.js';

const misfortune = (t: Parameters<typeof viaduct>[0], manner: string): Promise<Ended> =>
  viaduct(t, ['run', '-n', '3', ...rankProgram('misfortune', manner)]);

t.test('ranks exchange messages', async (t) => {
  for (const size of [1, 2, 5]) {
    const ended = await viaduct(t, ['run', '-n', `${size}`, ...rankProgram('ring')]);
    t.equal(ended.stderr, '');
    t.equal(ended.stdout, `[0] sum ${(size * (size - 1)) / 2}\n`);
    t.equal(ended.status, 0);
  }
});

t.test('a rank killed in the middle of a message is named by launcher and peers', async (t) => {
  const launch = new Launch(t, ['run', '-n', '3', ...rankProgram('misfortune', 'stream')]);
  const [victim] = await launch.shown(/\[1\] pid (\d+)\n/g, 1);
  await launch.shown(/streaming/g, 1);
  process.kill(Number(victim), 'SIGKILL');
  const ended = await launch.ended;
  t.equal(ended.status, 137);
  t.match(ended.stderr, /^viaduct run: rank 1 was killed by SIGKILL/);
  t.equal(ended.stderr.match(/viaduct run: /g)?.length, 1, 'the failure is told once');
  t.match(ended.stderr, /\[0\] rank 0 saw: .*rank 1.* was killed by SIGKILL/);
  t.match(ended.stderr, /\[2\] rank 2 saw: .*rank 1.* was killed by SIGKILL/);
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that exits without finalizing is a failure', async (t) => {
  const ended = await misfortune(t, 'leave');
  t.match(ended.stderr, /^viaduct run: rank 1 exited without finalizing/);
  t.match(ended.stderr, /\[0\] rank 0 saw: .*rank 1.* exited without finalizing/);
  t.equal(ended.status, 5, 'the worst: that of the peers, which gave up');
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that never joins is named by those that wait for it', async (t) => {
  const ended = await misfortune(t, 'absent');
  t.match(ended.stderr, /\[[02]\] rank [02] saw: .*rank 1.* exited without joining/);
  t.equal(ended.status, 5);
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that throws shows its stack before the word of its failure', async (t) => {
  const ended = await misfortune(t, 'throw');
  const lines = ended.stderr.split('\n');
  const stack = lines.findIndex((line) => line.includes('Error: the mesh is broken'));
  const word = lines.findIndex((line) => line === 'viaduct run: rank 1 exited with status 1');
  const peer = lines.findIndex((line) => /rank [02] saw: /.test(line));
  t.ok(stack >= 0 && stack < word && word < peer, ended.stderr);
  t.equal(ended.status, 5);
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that is stopped is found, named and ended', async (t) => {
  const args = ['run', '-n', '3', '--heartbeat', '1', ...rankProgram('misfortune', 'stream')];
  const launch = new Launch(t, args);
  const [victim] = await launch.shown(/\[1\] pid (\d+)\n/g, 1);
  await launch.shown(/streaming/g, 1);
  process.kill(Number(victim), 'SIGSTOP');
  const ended = await launch.ended;
  t.match(
    ended.stderr,
    /^viaduct run: rank 1 has given no sign of life for 1 s: it was stopped by/,
  );
  t.match(ended.stderr, /\[0\] rank 0 saw: .*rank 1 failed.* no sign of life/);
  t.equal(ended.status, 5, 'the worst: that of the peers, which gave up');
  await allGone(pidsIn(ended.stdout));
});

t.test('a rank that computes for long, or waits for long, is not taken for stopped', async (t) => {
  const ended = await viaduct(t, [
    ...['run', '-n', '2', '--heartbeat', '1'],
    ...rankProgram('misfortune', 'compute'),
  ]);
  t.equal(ended.stderr, '');
  t.equal(ended.status, 0);
});
