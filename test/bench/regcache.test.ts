/** The benchmark of the registration cache, as a command. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

const program = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

function bench(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, 'regcache', ...args], { encoding: 'utf8' });
}

t.test('every size is measured in every way, printed and written', (t) => {
  const json = join(t.testdir(), 'regcache.json');
  const { status, stdout, stderr } = bench(['--where', 'native', '--rounds', '1', '--json', json]);
  t.equal(status, 0, stderr);
  t.match(stdout, /^native +4 MiB( +[\d.]+){7}$/m);
  const { samples } = JSON.parse(readFileSync(json, 'utf8')) as {
    samples: { sizeBytes: number; ways: Record<string, number> }[];
  };
  t.equal(samples.length, 6);
  for (const { ways } of samples) {
    t.same(Object.keys(ways), ['registered', 'cached', 'uncached', 'fresh']);
    t.ok(Object.values(ways).every((each) => each > 0));
  }
  t.end();
});

t.test('a place that is none is wrong usage', (t) => {
  const { status, stderr } = bench(['--where', 'moon']);
  t.equal(status, 2);
  t.match(stderr, /native, uml, qemu, not 'moon'/);
  t.end();
});
