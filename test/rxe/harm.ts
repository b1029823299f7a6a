/** What is tested over a network that does harm; whoever gives the routes, before this is loaded, sees to that. */
import { seededRandom } from '../seeded-random.js';
import { BODIES, SIZE_BYTES } from '../verbs/traffic/exactly-once.js';
import { overRoutes } from '../verbs/traffic/routes.js';

/** A lost packet is sent again after some 67 ms (4.096 µs · 2^14), seven times in a row. */
const CONNECT = { timeout: 14, retryCnt: 7, mtu: 1024 } as const;

const NAMES = {
  messages: 'messages arrive once and in order',
  writesAndReads: 'writes and reads move their data',
  additions: 'additions are carried out once each',
} as const;

export function testHarmed(): void {
  for (const [what, run] of Object.entries(BODIES)) {
    const name = NAMES[what as keyof typeof BODIES];
    overRoutes(name, { connect: CONNECT, sizeBytes: SIZE_BYTES }, (t, pair) =>
      run(t, pair, seededRandom(t)),
    );
  }
}
