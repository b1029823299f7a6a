// Runs the native tests and counts them, from what ctest writes in JUnit's form.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const unescape = (text) =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');

function countResults(file, counts) {
  const cases = readFileSync(file, 'utf8').matchAll(
    /<testcase name="([^"]*)"[^>]*\bstatus="(\w+)"[^>]*>(.*?)<\/testcase>/gs,
  );
  for (const [, name, status, body] of cases) {
    if (status === 'run') {
      counts.passed += 1;
    } else if (status === 'fail') {
      counts.failed += 1;
    } else {
      counts.skipped += 1;
      // GoogleTest prints the reason on the line after the place.
      const output = /<system-out>(.*?)<\/system-out>/s.exec(body)?.[1] ?? '';
      const reason = /: Skipped\n(.*)/.exec(output)?.[1] ?? 'NO REASON GIVEN';
      console.log(`skip  ${unescape(name)}: ${unescape(reason)}`);
    }
  }
}

/** @returns {{ passed: number, failed: number, skipped: number }} */
export function runNativeSuite() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const { status } = spawnSync('.ci/test-native', [], { stdio: ['ignore', 'inherit', 'inherit'] });
  for (const name of ['asan', 'tsan']) {
    const file = `build/native-${name}/results.xml`;
    if (existsSync(file)) countResults(file, counts);
  }
  // A build that failed has no results to count.
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}
