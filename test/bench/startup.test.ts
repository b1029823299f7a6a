/** The benchmark of starting: what it prints and writes. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

const main = fileURLToPath(new URL('../../bench/main.js', import.meta.url));
const bench = (args: readonly string[], env = process.env) =>
  spawnSync(process.execPath, [main, 'startup', ...args], { encoding: 'utf8', env });

t.test('every way to start is measured once in a round', async (t) => {
  const file = join(t.testdir({}), 'startup.json');
  const { status, stdout, stderr } = bench(['--rounds', '1', '--ranks', '3', '--json', file]);
  t.equal(status, 0, stderr);
  const { rounds } = JSON.parse(readFileSync(file, 'utf8')) as { rounds: Record<string, number>[] };
  t.equal(rounds.length, 1);
  for (const name of ['viaduct run -n 2', 'viaduct run -n 2 --threads', 'viaduct run -n 3']) {
    t.ok(rounds[0][name] > 0, name);
    t.match(stdout, name);
  }
  if (/not measured/.test(stderr)) t.comment('mpich is not installed: nothing to compare');
  else t.match(stdout, /ratio to the first [\d.]+ \(aim: ≤ 2\)/);
});

t.test('without MPICH the rest is measured, and the package named', async (t) => {
  const { status, stderr, stdout } = bench(['--rounds', '1', '--ranks', '3'], {
    PATH: t.testdir({}),
  });
  t.match(stderr, /mpiexec.hydra -n 2 is not measured: apt-get install mpich/);
  t.match(stdout, 'viaduct run -n 2');
  t.equal(status, 0);
});

t.test('wrong options are refused', async (t) => {
  const { status, stderr } = bench(['--rounds', '0']);
  t.match(stderr, '--rounds takes whole numbers from 1 to 100');
  t.equal(status, 2);
});
