/** Hosts on which passthrough can't work: preflight says why, and the kernel agrees. */
import t from 'tap';

import { runInGuest, withoutQemu } from './guest.js';

t.setTimeout(120_000);

t.test('in guests where something is missing', { skip: withoutQemu }, async (t) => {
  const program = 'obstacles';
  const [withoutVfio, withoutIommu, withoutRemapping] = await Promise.all([
    runInGuest({ program, iommu: 'intremap=on', vfio: 'no' }),
    runInGuest({ program }),
    runInGuest({ program, iommu: 'intremap=off' }),
  ]);

  t.test('without VFIO’s modules', async (t) => {
    const results = withoutVfio;
    t.match(results.get('preflight'), {
      findings: [
        { problem: 'vfio-not-loaded', remedy: /^modprobe -a vfio-pci vfio_iommu_type1 vfio;/ },
      ],
    });
    t.match(results.get('lease'), { code: 'ERR_PASSTHROUGH_PREFLIGHT' });
    t.match(results.get('bind'), { code: 'ERR_PASSTHROUGH_DRIVER', message: /modprobe vfio-pci/ });
    t.match(results.get('unbind'), { driver: 'nvme' }, 'the device has its driver again');
  });

  t.test('without an IOMMU', async (t) => {
    const results = withoutIommu;
    t.match(results.get('preflight'), { findings: [{ problem: 'iommu-off', remedy: /BIOS/ }] });
    t.match(results.get('lease'), { code: 'ERR_PASSTHROUGH_PREFLIGHT', message: /IOMMU is off/ });
    t.match(results.get('bind'), {
      code: 'ERR_PASSTHROUGH_DRIVER',
      message: /switch the IOMMU on/,
    });
    t.match(results.get('open'), { failed: 'open group' });
    t.match(results.get('unbind'), { driver: 'nvme' }, 'the device has its driver again');
  });

  t.test('with an IOMMU that remaps no interrupts', async (t) => {
    const results = withoutRemapping;
    t.match(results.get('preflight'), {
      findings: [{ problem: 'interrupt-remapping-off', remedy: /intremap=off/ }],
    });
    t.match(results.get('open'), { failed: 'VFIO_SET_IOMMU', errno: 1 });
    t.match(results.get('unbind'), { driver: 'nvme' });
  });
});
