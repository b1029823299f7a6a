/** Each scenario on each way of the verbs channel, on one host and between network namespaces, and random operations. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';
import { chooseSeed } from '../seeded-random.js';
import { lackingNamespaces } from '../verbs/traffic/namespaces.js';
import { startNeighbourhood } from './neighbours.js';
import { runScenarios } from './run-scenarios.js';
import { EAGER_BYTES, LONG_PROTOCOLS, PATHS, verbs } from './verbs-ways.js';

const randomMatching = fileURLToPath(new URL('programs/random-matching.js', import.meta.url));
const seed = chooseSeed();
t.comment(`SEED=${seed}`);

for (const path of Object.keys(PATHS) as (keyof typeof PATHS)[]) {
  for (const longProtocol of LONG_PROTOCOLS) {
    for (const eagerBytes of EAGER_BYTES) {
      const env = verbs(path, longProtocol, eagerBytes);
      const way = `path ${path}, ${longProtocol}, up to ${eagerBytes} bytes whole`;
      t.test(`scenarios of two ranks: ${way}`, (t) => runScenarios(t, 2, env));
      t.test(`random operations of four ranks: ${way}`, async (t) => {
        const stderr = new Lines();
        const { exitCode } = await runJob({
          size: 4,
          command: process.execPath,
          args: [randomMatching, String(seed), '300'],
          env: { ...process.env, ...env },
          stdout: new Lines(),
          stderr,
        });
        t.equal(stderr.text, '');
        t.equal(exitCode, 0);
      });
    }
  }
}

t.test('scenarios of five ranks', (t) => runScenarios(t, 5, { VIADUCT_CHANNEL: 'verbs' }));

for (const longProtocol of LONG_PROTOCOLS) {
  for (const eagerBytes of EAGER_BYTES) {
    t.test(
      `scenarios between network namespaces: ${longProtocol}, up to ${eagerBytes} bytes whole`,
      { skip: lackingNamespaces() },
      async (t) => {
        const env = {
          ...verbs('direct and copy', longProtocol, eagerBytes),
          VIADUCT_LINK_LAYER: 'ethernet',
        };
        await runScenarios(t, 2, env, undefined, await startNeighbourhood(t));
      },
    );
  }
}
