/** In a guest with a virtual IOMMU and an NVMe controller with SR-IOV: all that a host does with such a device. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';

import { PassthroughHost } from '../../../../lib/vm/passthrough/index.js';
import { attempt, runSteps, Talker } from './report.js';

const PF = '0000:01:00.0';
const SHARED = '0000:00:0a.0';
const SHARED_TOO = '0000:00:0a.1';
const RUN_DIRECTORY = '/run/viaduct-passthrough';

const vfioOpen = process.argv[2] ?? '';
const host = new PassthroughHost();

const driverOf = (address: string): string => host.pciDevice(address).driver ?? 'none';
const groupOf = (address: string): string => String(host.pciDevice(address).iommuGroup);
const open = (address: string, ...more: string[]): Talker =>
  new Talker(vfioOpen, [address, groupOf(address), ...more]);
const opened = async (address: string): Promise<object> => {
  const talker = open(address);
  const what = await talker.ask();
  await talker.end();
  return what;
};
const problems = async (...args: Parameters<PassthroughHost['preflight']>): Promise<object> => ({
  problems: (await host.preflight(...args)).map(({ problem }) => problem),
  text: (await host.preflight(...args)).map(({ message, remedy }) => `${message}: ${remedy}`),
});
let virtualFunction = '';

await runSteps({
  enumerate: async () => ({ pf: host.pciDevice(PF), rdma: host.rdmaDevices() }),
  'preflight of the controller': () => problems(PF, { virtualFunctions: 2 }),
  'preflight of too many': () => problems(PF, { virtualFunctions: 5 }),
  'preflight without SR-IOV': () => problems(SHARED, { virtualFunctions: 1 }),
  'too many': () => attempt(() => host.setVirtualFunctionCount(PF, 5)),
  two: async () => {
    const made = await host.setVirtualFunctionCount(PF, 2);
    virtualFunction = made[0]!;
    return { made, drivers: made.map(driverOf), autoprobe: host.pciDevice(PF).sriov?.autoprobe };
  },
  'from two to three': async () => ({ made: await host.setVirtualFunctionCount(PF, 3) }),
  'preflight of a virtual function': () => problems(virtualFunction, { memoryBytes: 2 ** 30 }),
  'preflight of a controller with virtual functions': () => problems(PF),

  lease: async () => {
    const lease = await host.lease(virtualFunction, { memoryBytes: 2 ** 30 });
    try {
      const driver = driverOf(virtualFunction);
      const asVmm = await opened(virtualFunction);
      const again = await attempt(() => host.lease(virtualFunction));
      const removal = await attempt(() => host.setVirtualFunctionCount(PF, 0));
      const holding = open(virtualFunction, 'hold');
      await holding.ask();
      const whileOpen = await attempt(() => lease.release());
      const second = await opened(virtualFunction);
      const busy = await problems(virtualFunction);
      await holding.end();
      const args = lease.qemuArguments({ id: 'hca0' });
      const leases = host.leases();
      return { driver, asVmm, again, removal, whileOpen, second, busy, args, leases };
    } finally {
      await lease.release();
    }
  },
  'after the release': async () => ({
    driver: driverOf(virtualFunction),
    override: readFileSync(`/sys/bus/pci/devices/${virtualFunction}/driver_override`, 'utf8'),
    leases: host.leases(),
    runDirectory: existsSync(RUN_DIRECTORY),
  }),
  'the whole controller': async () => {
    await host.setVirtualFunctionCount(PF, 0);
    const descriptor = openSync(`/dev/${readdirSync(`/sys/bus/pci/devices/${PF}/nvme`)[0]}`, 'r');
    const open = await problems(PF);
    closeSync(descriptor);
    const lease = await host.lease(PF);
    const driver = driverOf(PF);
    const noDriver = await problems(PF, { virtualFunctions: 2 });
    await lease.release();
    return { open, driver, noDriver, after: driverOf(PF) };
  },
  'a shared group': async () => {
    const alone = await attempt(() => host.lease(SHARED));
    const untouched = [driverOf(SHARED), driverOf(SHARED_TOO)];
    await host.bindToVfio(SHARED);
    const refused = await opened(SHARED);
    await host.unbindFromVfio(SHARED);
    const lease = await host.lease(SHARED, { wholeGroup: true });
    const drivers = [driverOf(SHARED), driverOf(SHARED_TOO)];
    const asVmm = await opened(SHARED);
    const other = await attempt(() => host.lease(SHARED_TOO));
    await lease.release();
    const after = [driverOf(SHARED), driverOf(SHARED_TOO)];
    return { alone, untouched, refused, drivers, asVmm, other, after };
  },
});
