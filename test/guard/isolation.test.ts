/** Mounts of a guarded program: private and read-only, or the program is not run. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { builtExecutable } from '../../lib/addon/index.js';

const guard = builtExecutable('viaduct-guard');
const asRoot = process.getuid?.() === 0 ? [] : ['unshare', '--user', '--map-root-user'];

/** Runs a command line that needs to be root, if only of a user namespace. */
function run(...command: string[]) {
  const [program = '', ...args] = [...asRoot, ...command];
  return spawnSync(program, args, { encoding: 'utf8' });
}

const skip =
  run('unshare', '--mount', 'true').status === 0
    ? false
    : 'this system permits no mount namespace to try it in';

t.test('a program behind --read-only cannot write to the host', { skip }, async (t) => {
  const file = join(t.testdir(), 'written');
  const { status } = run(guard, '--read-only', '--', 'sh', '-c', `echo text > ${file}`);
  t.not(status, 0);
  t.notOk(existsSync(file));
});

t.test('a program is not run where its mounts cannot be made read-only', { skip }, async (t) => {
  // The root of a chroot is no mount point, and only mount points can be made read-only.
  const root = t.testdir();
  copyFileSync(guard, join(root, 'guard'));
  copyFileSync(builtExecutable('viaduct-agent'), join(root, 'program'));
  const { status, stderr } = run('chroot', root, '/guard', '--read-only', '--', '/program');
  t.equal(status, 125);
  t.match(stderr, /viaduct-guard: .*mount.*\/.*Invalid argument/);
  t.notMatch(stderr, /viaduct-agent/, 'the program did not run');
});
