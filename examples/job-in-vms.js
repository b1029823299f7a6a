// A program that runs a job: the ring, each rank in a virtual machine that is booted for it and gone afterwards.
// It needs User-Mode Linux (Debian: user-mode-linux), and neither root nor virtualisation hardware.
//
//   node examples/job-in-vms.js 2
import { fileURLToPath } from 'node:url';

import { VmPlace } from 'viaduct/cluster';
import { runJob } from 'viaduct/job';

const size = Number(process.argv[2] ?? 2);
const { exitCode, failure } = await runJob({
  size,
  command: process.execPath,
  args: [fileURLToPath(new URL('ring.js', import.meta.url))],
  place: new VmPlace({ driver: 'uml', size }),
  timeoutMs: 120_000,
  onEvent: (event) => {
    if (event.type === 'started') console.log(`rank ${event.rank} runs in a machine of its own`);
  },
});
if (failure !== undefined) console.error(failure.message);
process.exitCode = exitCode;
