/** In a guest: leases a virtual function and gives it to a VM within, plugged in and out while that runs. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { PassthroughHost, VirtualMachine } from '../../../../lib/vm/index.js';
import { QmpClient } from '../../../../lib/vm/qemu/qmp.js';
import { attempt, runSteps } from './report.js';

const [, , , nvmeSecondary = '', image = '', modules = ''] = process.argv;
const PF = '0000:01:00.0';
/** On the loopback interface of the guest, which nobody else is in. */
const MONITOR_PORT = 4444;
const PATIENCE_MS = 600_000;

const host = new PassthroughHost();
const memoryBytes = 128 * 2 ** 20;

await runSteps({
  'a VM within': async () => {
    const [address = ''] = await host.setVirtualFunctionCount(PF, 1);
    const [controller] = readdirSync(`/sys/bus/pci/devices/${PF}/nvme`);
    execFileSync(nvmeSecondary, [`/dev/${controller}`, '1']);
    execFileSync('ip', ['link', 'set', 'lo', 'up']);
    await using lease = await host.lease(address, { memoryBytes });
    await using vm = await VirtualMachine.boot({
      name: 'nested',
      driver: 'qemu',
      machineType: 'q35',
      accelerator: 'tcg',
      memoryBytes,
      kernel: { image, modules },
      programs: ['sh', 'cat', 'dd', 'wc', 'ls'],
      devices: [
        {
          qemuArguments: [
            ...['-device', 'pcie-root-port,id=port1,chassis=1,slot=1'],
            ...['-chardev', `socket,id=qmp,host=127.0.0.1,port=${MONITOR_PORT},server=on,wait=off`],
            ...['-mon', 'chardev=qmp,mode=control'],
          ],
          modules: ['nvme'],
        },
      ],
      timeoutMs: PATIENCE_MS,
      silenceTimeoutMs: PATIENCE_MS,
    });
    const run = async (script: string): Promise<string> =>
      (await vm.exec('sh', ['-c', script], { timeoutMs: PATIENCE_MS })).stdout.trim();
    const until = async (script: string, wanted: RegExp): Promise<string> => {
      for (;;) {
        const said = await run(script);
        if (wanted.test(said)) return said;
        await sleep(500);
      }
    };
    const socket = connect(MONITOR_PORT, '127.0.0.1');
    await once(socket, 'connect');
    const qmp = new QmpClient(socket);
    await qmp.negotiate();

    const before = await run('ls /sys/class/nvme');
    await lease.plug(qmp, { id: 'hca0', bus: 'port1' });
    const state = await until('cat /sys/class/nvme/nvme0/state', /live/);
    const disk = await until('ls /dev', /nvme0n1/);
    // 64 KiB that the device writes into the memory of the VM within, through the IOMMU of this guest.
    const bytesRead = await run('dd if=/dev/nvme0n1 bs=65536 count=1 2>/dev/null | wc -c');
    const whilePlugged = await attempt(() => lease.release());
    await lease.unplug(qmp, 'hca0', { timeoutMs: PATIENCE_MS });
    const after = await until('ls /sys/class/nvme', /^$/);
    qmp.close();
    return { before, state, disk: /nvme0n1/.test(disk), bytesRead, whilePlugged, after };
  },
  'after it': async () => ({
    leases: host.leases(),
    removed: await host.setVirtualFunctionCount(PF, 0),
  }),
});
