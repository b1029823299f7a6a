/**
 * `npm run test:pyverbs`: rdma-core's own Python tests over the software HCA, on a port of InfiniBand and on one
 * of RoCE. Exit status 1 if a test failed, or was skipped that kernel Soft-RoCE runs.
 */
import { missing, runSuite, skippedInAll, skippedOnRxe, type Outcome } from './suite.js';

const usage = `usage: npm run test:pyverbs -- [--remap]
  --remap  move registered memory where peers can map it, as viaduct exec --remap`;

const args = process.argv.slice(2);
const unknown = args.find((word) => word !== '--remap' && word !== '--help');
if (args.includes('--help')) {
  console.log(usage);
} else if (unknown !== undefined) {
  console.error(`test:pyverbs: unknown option ${unknown}\n${usage}`);
  process.exitCode = 2;
} else {
  const why = missing();
  if (why === undefined) {
    process.exitCode = await report(args.includes('--remap'));
  } else {
    console.error(`test:pyverbs: ${why}`);
    process.exitCode = 1;
  }
}

function count(outcomes: readonly Outcome[], kind: Outcome['outcome']): number {
  return outcomes.filter(({ outcome }) => outcome === kind).length;
}

async function report(remap: boolean): Promise<number> {
  const runs: Outcome[][] = [];
  for (const linkLayer of ['infiniband', 'ethernet'] as const) {
    const outcomes = await runSuite({ linkLayer, remap });
    runs.push(outcomes);
    for (const { test, outcome, text } of outcomes) {
      if (outcome === 'failed') console.log(`FAILED  ${test}\n${text.replace(/^/gm, '    ')}`);
    }
    console.log(
      `${linkLayer}${remap ? ', remapped' : ''}: ${outcomes.length} ran, ${count(outcomes, 'passed')} passed, ` +
        `${count(outcomes, 'failed')} failed, ${count(outcomes, 'skipped')} skipped`,
    );
  }
  const skipped = skippedInAll(runs);
  const reasons = new Map<string, string[]>();
  for (const [test, reason] of skipped) reasons.set(reason, [...(reasons.get(reason) ?? []), test]);
  console.log(`\nskipped on both: ${skipped.size}`);
  for (const [reason, tests] of reasons) {
    console.log(`  ${reason}\n${tests.map((test) => `      ${test}\n`).join('')}`.trimEnd());
  }
  const onRxe = skippedOnRxe();
  const ours = [...skipped.keys()].filter((test) => !onRxe.has(test));
  const ran = [...onRxe].filter((test) => !skipped.has(test));
  console.log(
    `of these, kernel Soft-RoCE (Linux 6.1) runs ${ours.length}: ${ours.join(', ') || 'none'}`,
  );
  console.log(`it skips ${ran.length} that ran here`);
  return ours.length > 0 || runs.some((outcomes) => count(outcomes, 'failed') > 0) ? 1 : 0;
}
