// The checks, the native tests and the tap suite, and one line that sums them up.
import { runChecks } from './checks.js';
import { runNativeSuite } from './native-suite.js';
import { runTapSuite } from './tap-suite.js';

const total = { passed: 0, failed: 0, skipped: 0 };
for (const suite of [runChecks, runNativeSuite, runTapSuite]) {
  const counts = await suite();
  for (const [kind, count] of Object.entries(counts)) total[kind] += count;
}
if (total.passed === 0) total.failed += 1;
console.log(
  `${total.passed} passed, ${total.failed} failed` +
    (total.skipped > 0 ? `, ${total.skipped} skipped` : ''),
);
process.exitCode = total.failed === 0 ? 0 : 1;
