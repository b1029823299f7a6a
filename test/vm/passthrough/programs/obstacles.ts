/** In a guest where something is missing: what preflight says of it, and whether the kernel agrees. */
import { PassthroughHost } from '../../../../lib/vm/passthrough/index.js';
import { attempt, runSteps, Talker } from './report.js';

const ADDRESS = '0000:01:00.0';
const host = new PassthroughHost();

await runSteps({
  preflight: async () => ({ findings: await host.preflight(ADDRESS) }),
  lease: () => attempt(() => host.lease(ADDRESS)),
  bind: () => attempt(() => host.bindToVfio(ADDRESS)),
  open: async () => {
    const group = host.pciDevice(ADDRESS).iommuGroup;
    return new Talker(process.argv[2] ?? '', [ADDRESS, String(group)]).ask();
  },
  unbind: async () => {
    await host.unbindFromVfio(ADDRESS);
    return { driver: host.pciDevice(ADDRESS).driver };
  },
});
