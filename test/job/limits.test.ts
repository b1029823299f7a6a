/** Jobs whose system has no more memory, or no room in /dev/shm. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { allGone, pidsIn, rankProgram, viaduct } from '../command/launcher.js';

const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));

/** A control group with this much memory, or why there can be none; of either version of control groups. */
function limitMemory(t: Test, bytes: number): { folder: string } | { lacking: string } {
  const name = `viaduct-test-${process.pid}`;
  const [folder, limit] = existsSync('/sys/fs/cgroup/memory')
    ? [`/sys/fs/cgroup/memory/${name}`, 'memory.limit_in_bytes']
    : [`/sys/fs/cgroup/${name}`, 'memory.max'];
  try {
    mkdirSync(folder);
    t.teardown(async () => {
      // The kernel lets go of the last process a moment after it has ended.
      for (let tries = 0; tries < 50; tries++) {
        try {
          rmdirSync(folder);
          return;
        } catch {
          await sleep(100);
        }
      }
      rmdirSync(folder);
    });
    writeFileSync(`${folder}/${limit}`, String(bytes));
    return { folder };
  } catch (error) {
    return { lacking: `no control group of memory can be made here: ${(error as Error).message}` };
  }
}

t.test('a rank that takes all memory is named, and the job ends', async (t) => {
  const group = limitMemory(t, 700 * 2 ** 20);
  if ('lacking' in group) {
    t.plan(0, group.lacking);
    return;
  }
  const enter = `echo $$ > ${group.folder}/cgroup.procs; exec "$0" "$@"`;
  const inner = ['sh', '-c', enter, process.execPath, main, 'run', '-n', '2', '--no-label'];
  const ended = await viaduct(t, [
    ...['run', '-n', '1', '--no-label', '--', ...inner],
    ...rankProgram('misfortune', 'devour'),
  ]);
  t.match(
    ended.stderr,
    /viaduct run: rank 1 was killed by SIGKILL \(.*the kernel when memory ran out/,
  );
  t.match(ended.stderr, /rank 0 saw: .*rank 1 failed/);
  t.not(ended.status, 0);
  await allGone(pidsIn(ended.stdout));
});

function lackingMounts(): string | false {
  if (process.getuid?.() !== 0) return 'to mount a small /dev/shm needs root';
  try {
    execFileSync('unshare', ['-m', '--', 'true'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'no mount namespace can be made here';
  }
}

t.test('a job needs nothing of /dev/shm', { skip: lackingMounts() }, async (t) => {
  const full = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && echo x > /dev/shm/x && exec "$0" "$@"';
  const inner = ['unshare', '-m', '--', 'sh', '-c', full, process.execPath, main];
  const job = [...inner, 'run', '-n', '2', '--no-label', ...rankProgram('ring')];
  const ended = await viaduct(t, ['run', '-n', '1', '--no-label', '--', ...job]);
  t.equal(ended.stderr, '');
  t.equal(ended.stdout, 'sum 1\n');
  t.equal(ended.status, 0);
});
