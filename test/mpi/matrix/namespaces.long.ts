/** The matrix between network namespaces: RoCEv2 packets over a pair of virtual interfaces. */
import t from 'tap';

import { lackingNamespaces } from '../../verbs/traffic/namespaces.js';
import { startNeighbourhood } from '../neighbours.js';
import { runScenarios } from '../run-scenarios.js';
import { EAGER_BYTES, LONG_PROTOCOLS, verbs } from '../verbs-ways.js';

for (const longProtocol of LONG_PROTOCOLS) {
  for (const eagerBytes of EAGER_BYTES) {
    t.test(
      `scenarios of two ranks: ${longProtocol}, up to ${eagerBytes} bytes whole`,
      { skip: lackingNamespaces() },
      async (t) => {
        const env = {
          ...verbs('direct and copy', longProtocol, eagerBytes),
          VIADUCT_LINK_LAYER: 'ethernet',
        };
        await runScenarios(t, 2, env, undefined, (await startNeighbourhood(t)).by);
      },
    );
  }
}
