/**
 * Another process that leases the function of its first argument: for each line of its input, `lease`, `lease BYTES` (of
 * memory) or `release`, it says in a line of JSON what came of it.
 */
import { createInterface } from 'node:readline';

import { PassthroughHost, type DeviceLease } from '../../../../lib/vm/passthrough/index.js';
import { attempt } from './report.js';

const address = process.argv[2] ?? '';
const host = new PassthroughHost();
let lease: DeviceLease | undefined;

for await (const line of createInterface(process.stdin)) {
  const [verb, memoryBytes] = line.split(' ');
  const outcome = await attempt(async () => {
    if (verb === 'release') return lease?.release();
    lease = await host.lease(
      address,
      memoryBytes === undefined ? {} : { memoryBytes: Number(memoryBytes) },
    );
    return lease.address;
  });
  console.log(JSON.stringify({ pid: process.pid, ...outcome }));
}
