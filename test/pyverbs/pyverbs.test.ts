/** rdma-core's own Python tests over the software HCA: none fails, and none is skipped that rxe runs. */
import t from 'tap';

import { missing, runSuite, skippedInAll, skippedOnRxe, type Outcome } from './suite.js';

const why = missing();

for (const remap of [false, true]) {
  const way = remap ? 'with remapped memory' : 'with memory as it is';
  t.test(`rdma-core's tests pass ${way}`, { skip: why ?? false }, async (t) => {
    const runs: Outcome[][] = [];
    for (const linkLayer of ['infiniband', 'ethernet'] as const) {
      const outcomes = await runSuite({ linkLayer, remap });
      runs.push(outcomes);
      t.ok(outcomes.length >= 150, `${outcomes.length} tests ran on ${linkLayer}`);
      for (const { test, outcome, text } of outcomes) {
        if (outcome === 'failed') t.fail(`${test} on ${linkLayer}`, { text });
      }
    }
    const onRxe = skippedOnRxe();
    const skipped = [...skippedInAll(runs).keys()].filter((test) => !onRxe.has(test));
    t.same(skipped, [], 'kernel Soft-RoCE runs what is skipped here');
  });
}
