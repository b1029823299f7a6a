// Runs the native tests and counts them.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** @returns {{ passed: number, failed: number, skipped: number }} */
export function runNativeSuite() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (!existsSync('native/CMakeLists.txt')) return counts;
  const { status } = spawnSync('.ci/test-native', [], { stdio: ['ignore', 'inherit', 'inherit'] });
  for (const name of ['asan', 'tsan']) {
    const file = `build/native-${name}/results.xml`;
    if (!existsSync(file)) continue;
    const suite = /<testsuite\b[^>]*>/.exec(readFileSync(file, 'utf8'))?.[0] ?? '';
    const number = (attribute) =>
      Number(new RegExp(`\\b${attribute}="(\\d+)"`).exec(suite)?.[1] ?? 0);
    const skipped = number('skipped') + number('disabled');
    counts.failed += number('failures');
    counts.skipped += skipped;
    counts.passed += number('tests') - number('failures') - skipped;
  }
  // A build that failed has no results to count.
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}
