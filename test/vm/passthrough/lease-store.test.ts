/** Leases in the run directory, on a host whose device is bound to vfio-pci already. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { PassthroughHost } from '../../../lib/vm/index.js';
import { layOut } from './recorded-tree.js';

const VF = '0000:3b:00.1';

function hostOf(t: Test): { host: PassthroughHost; runDirectory: string; again: PassthroughHost } {
  const folder = t.testdir({ root: {} });
  const rootPath = layOut(join(folder, 'root'), 'host', 'connectx-infiniband');
  rmSync(join(rootPath, 'proc/4242'), { recursive: true });
  const runDirectory = join(folder, 'run');
  const open = (): PassthroughHost => new PassthroughHost({ rootPath, runDirectory });
  return { host: open(), again: open(), runDirectory };
}

t.test('a lease is written down, and nothing is left after it', async (t) => {
  const { host, again, runDirectory } = hostOf(t);
  const lease = await host.lease(VF);
  t.same(readdirSync(runDirectory), [`${VF}.json`]);
  t.same(again.leases(), [{ address: VF, iommuGroup: 28, pid: process.pid, isHolderAlive: true }]);
  await t.rejects(again.lease(VF), { code: 'ERR_PASSTHROUGH_LEASED', findings: [{}] });
  await lease.release();
  await lease.release();
  t.notOk(existsSync(runDirectory));
  t.throws(() => lease.qemuArguments({ id: 'hca0' }), { code: 'ERR_CLOSED' });
});

t.test('many at once get it one after the other', async (t) => {
  const { host, runDirectory } = hostOf(t);
  let held = 0;
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (;;) {
        try {
          await using lease = await host.lease(VF);
          t.equal((held += 1), 1, lease.address);
          held -= 1;
          return;
        } catch (error) {
          if ((error as { code?: string }).code !== 'ERR_PASSTHROUGH_LEASED') throw error;
        }
      }
    }),
  );
  t.notOk(existsSync(runDirectory));
});

t.test('the lease of a process whose number is another’s now is taken back', async (t) => {
  const { host, runDirectory } = hostOf(t);
  mkdirSync(runDirectory);
  const former = [{ address: VF, driver: 'vfio-pci' }];
  const record = { address: VF, iommuGroup: 28, pid: process.pid, startTicks: 1, former };
  writeFileSync(join(runDirectory, `${VF}.json`), JSON.stringify(record));
  writeFileSync(join(runDirectory, `${VF}.json.tmp`), '{"addr');
  t.match(host.leases(), [{ address: VF, isHolderAlive: false }]);
  t.same(await host.reap(), [VF]);
  t.notOk(existsSync(runDirectory), 'nor is left what was half written');
});

t.test('a device that can’t be taken back keeps nobody from the others', async (t) => {
  const { host, runDirectory } = hostOf(t);
  mkdirSync(runDirectory);
  const former = [{ address: VF, driver: 'mlx5_core' }];
  const record = { address: VF, iommuGroup: 28, pid: process.pid, startTicks: 1, former };
  writeFileSync(join(runDirectory, `${VF}.json`), JSON.stringify(record));
  // Files alone give no device a driver.
  await t.rejects(host.reap(), {
    code: 'ERR_PASSTHROUGH_DRIVER',
    message: /did not get the driver mlx5_core, its driver is vfio-pci/,
  });
  t.same(await host.setVirtualFunctionCount('3b:00.0', 2), [VF, '0000:3b:00.2']);
  t.match(await host.preflight(VF), [
    { problem: 'device-leased', message: /which is gone/, remedy: /call reap\(\)/ },
  ]);
});

t.test('a file that holds no lease is named', async (t) => {
  const { host, runDirectory } = hostOf(t);
  mkdirSync(runDirectory);
  for (const text of ['', '{}', 'null', '{"address":1}']) {
    writeFileSync(join(runDirectory, `${VF}.json`), text);
    await t.rejects(host.lease(VF), {
      code: 'ERR_PASSTHROUGH_RUN_DIRECTORY',
      message: /0000:3b:00\.1\.json holds no lease; .* remove the file/,
    });
  }
});

t.test('a run directory that others can write to is refused', async (t) => {
  const { host, runDirectory } = hostOf(t);
  mkdirSync(runDirectory);
  chmodSync(runDirectory, 0o777);
  const refused = { code: 'ERR_PASSTHROUGH_RUN_DIRECTORY', message: /only its owner/ };
  await t.rejects(host.lease(VF), refused);
  rmSync(runDirectory, { recursive: true });
  symlinkSync('/etc', runDirectory);
  await t.rejects(host.lease(VF), refused);
});

t.test('a run directory that can’t be made is named', async (t) => {
  const { host, runDirectory } = hostOf(t);
  writeFileSync(runDirectory, '');
  await t.rejects(host.lease(VF), {
    code: 'ERR_PASSTHROUGH_RUN_DIRECTORY',
    message: /name another runDirectory/,
  });
});
