/** In the same guest: several processes that lease one virtual function. */
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { PassthroughHost } from '../../../../lib/vm/passthrough/index.js';
import { attempt, runSteps, Talker } from './report.js';

const PF = '0000:01:00.0';
const RUN_DIRECTORY = '/run/viaduct-passthrough';
const NOBODY = 65534;

const vfioOpen = process.argv[2] ?? '';
const holder = join(import.meta.dirname, 'holder.js');
const host = new PassthroughHost();
const [VF = ''] = await host.setVirtualFunctionCount(PF, 1);

const driverOf = (address: string): string => host.pciDevice(address).driver ?? 'none';
const group = String(host.pciDevice(VF).iommuGroup);
// Each is started once, because starting one takes seconds here.
const both = [0, 1].map(() => new Talker(process.execPath, [holder, VF]));

await runSteps({
  'another process': async () => {
    const lease = await host.lease(VF);
    const refused = await both[0].ask('lease');
    await lease.release();
    return { refused };
  },
  'two processes at once': async () => {
    const answers = await Promise.all(both.map((other) => other.ask('lease')));
    await Promise.all(both.map((other) => other.ask('release')));
    return { answers, leases: host.leases(), runDirectory: existsSync(RUN_DIRECTORY) };
  },
  'a holder that was killed': async () => {
    const [killed, bystander] = both;
    await bystander.end();
    const first = await killed.ask('lease');
    const alive = host.leases();
    // What a VM is that outlives its owner for a moment.
    const holding = new Talker(vfioOpen, [VF, group, 'hold']);
    await holding.ask();
    killed.child.kill('SIGKILL');
    await killed.end();
    const dead = host.leases();
    const whileOpen = await host.reap();
    const whileLeft = await attempt(() => host.lease(VF));
    await holding.end();
    const reaped = await host.reap();
    return { first, alive, dead, whileOpen, whileLeft, reaped, driver: driverOf(VF) };
  },
  'a user without rights': async () => {
    mkdirSync('/run/nobody');
    chownSync('/run/nobody', NOBODY, NOBODY);
    const nobody = new Talker(process.execPath, [holder, VF], {
      uid: NOBODY,
      gid: NOBODY,
      env: { XDG_RUNTIME_DIR: '/run/nobody' },
    });
    const unprepared = await nobody.ask('lease');
    await host.bindToVfio(VF);
    const withoutNode = await nobody.ask('lease');
    chownSync(`/dev/vfio/${group}`, NOBODY, NOBODY);
    // VFIO counts the memory against the limit of whoever has not CAP_IPC_LOCK.
    const tooLarge = await nobody.ask(`lease ${2 ** 40}`);
    const prepared = await nobody.ask('lease');
    const left = readdirSync('/run/nobody');
    const released = await nobody.ask('release');
    await nobody.end();
    const driver = driverOf(VF);
    await host.unbindFromVfio(VF);
    const leftAfter = readdirSync('/run/nobody');
    return { unprepared, withoutNode, tooLarge, prepared, released, left, leftAfter, driver };
  },
});
