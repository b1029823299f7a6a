/** Reliable traffic over networks that lose, double, damage and reorder packets: nothing is lost, nothing comes twice. */
import t from 'tap';

import { chooseSeed, randomFromSeed } from '../../seeded-random.js';
import { BODIES, SIZE_BYTES } from './exactly-once.js';
import { lackingNamespaces, startNeighbours } from './namespaces.js';
import { isSoftwareHca, openPair, type Route } from './routes.js';
import type { Service } from './side.js';

const seed = chooseSeed();
t.comment(`SEED=${seed}`);

const NETWORKS: readonly {
  readonly name: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly rules?: readonly string[];
  /** What must have happened for this to say something. */
  readonly happens: readonly string[];
}[] = [
  {
    name: '5 % of packets dropped by nftables',
    rules: [
      'add table inet lossy',
      'add chain inet lossy input { type filter hook input priority 0; }',
      'add rule inet lossy input udp dport 4791 numgen random mod 100 < 5 drop',
    ],
    happens: ['packets_sent_again', 'duplicate_requests'],
  },
  {
    name: 'loss, duplication, damage and delay by the link',
    env: {
      VIADUCT_FAULTS: `loss=0.03,duplication=0.03,corruption=0.02,delay=0.1,delay-us=300,seed=${seed}`,
    },
    happens: ['packets_sent_again', 'duplicate_requests', 'dropped_icrc'],
  },
];

/** A timeout of 17 ms (InfiniBand Vol. 1, 9.7.6.1.3), and eight attempts: more than a busy machine lets a process wait. */
const CONNECT = { timeout: 12, retryCnt: 7 } as const;
const skip = lackingNamespaces() || (!isSoftwareHca && 'this is about the software HCA');

for (const { name, env, rules, happens } of NETWORKS) {
  t.test(name, { skip }, async (t) => {
    const { a, b, joined } = startNeighbours({ ...(env && { env }), ...(rules && { rules }) });
    t.teardown(() => Promise.all([a.close(), b.close()]));
    const route: Route = {
      ...{ name, path: 'packets', shareable: { a: false, b: false }, at: { a, b } },
      ready: joined,
    };
    const counted = new Map<string, bigint>();
    for (const type of ['RC', 'XRC'] as const satisfies readonly Service[]) {
      for (const [what, run] of Object.entries(BODIES)) {
        const options = { type, sizeBytes: SIZE_BYTES, connect: CONNECT };
        const pair = await openPair(t, route, options);
        await run(t, pair, randomFromSeed(seed));
        for (const [event, count] of [
          ...Object.entries(await pair.a.packetCounters()),
          ...Object.entries(await pair.b.packetCounters()),
        ]) {
          counted.set(event, (counted.get(event) ?? 0n) + count);
        }
        t.comment(`${type}: ${what} are done`);
      }
    }
    for (const event of happens) {
      const count = counted.get(event) ?? 0n;
      t.ok(count > 0n, `${event}: ${count}`);
    }
  });
}
