/**
 * A virtual function in a VM within a VM: `npm run test:nested`, which takes minutes, because QEMU emulates QEMU.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { debianKernel } from '../../../lib/vm/kernel/debian-kernel.js';
import { compile, runInGuest, withoutQemu } from './guest.js';

const timeoutMs = 20 * 60_000;
t.setTimeout(timeoutMs);

t.test(
  'a VM in a VM uses a virtual function',
  { skip: withoutQemu, timeout: timeoutMs },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'passthrough-nested-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const { image, modules } = await debianKernel();
    const results = await runInGuest({
      program: 'nested',
      iommu: 'intremap=on,caching-mode=on',
      args: [compile('nvme-secondary.c', directory), image, modules],
      memoryMegabytes: 1024,
      // One for the processor of the VM within, one for its devices.
      vcpus: 2,
      timeoutMs,
    });
    t.equal(results.get('a VM within')?.['unexpected'], undefined);
    t.match(results.get('a VM within'), {
      before: '',
      state: 'live',
      disk: true,
      bytesRead: '65536',
      whilePlugged: { code: 'ERR_PASSTHROUGH_BUSY', message: /qemu-system-x86/ },
      after: '',
    });
    t.match(results.get('after it'), { leases: [], removed: [] });
  },
);
