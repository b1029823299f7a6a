/** A device with SR-IOV from discovery to giving it back, in a guest with a virtual IOMMU. */
import t from 'tap';

import { runInGuest, withoutQemu } from './guest.js';

t.setTimeout(120_000);

t.test('in a guest with a virtual IOMMU', { skip: withoutQemu }, async (t) => {
  const results = await runInGuest({ program: 'sriov', iommu: 'intremap=on' });
  const result = (name: string): Readonly<Record<string, unknown>> =>
    results.get(name) ?? { missing: name };
  const virtualFunctions = ['0000:01:00.1', '0000:01:00.2', '0000:01:00.3'];
  const [first] = virtualFunctions;

  t.test('a controller is found with its SR-IOV capability', async (t) => {
    t.match(result('enumerate'), {
      pf: {
        address: '0000:01:00.0',
        vendorId: 0x1b36,
        classCode: 0x010802,
        driver: 'nvme',
        iommuGroup: Number,
        sriov: { totalVirtualFunctions: 4, virtualFunctions: [], autoprobe: true },
      },
      rdma: [],
    });
  });

  t.test('preflight finds nothing missing for as many as there can be', async (t) => {
    t.match(result('preflight of the controller'), { problems: [] });
    t.match(result('preflight of too many'), {
      problems: ['virtual-function-limit'],
      text: ['0000:01:00.0 can have 4 virtual functions, not 5: ask for fewer'],
    });
  });

  t.test('a device without SR-IOV is told from one with it', async (t) => {
    t.match(result('preflight without SR-IOV'), { problems: ['no-sriov'] });
  });

  t.test('virtual functions are made, which the host’s driver does not take', async (t) => {
    t.match(result('two'), { made: virtualFunctions.slice(0, 2), drivers: ['none', 'none'] });
    t.equal(result('two')['autoprobe'], true, 'the setting is as it was');
  });

  t.test('their number can be changed, but not beyond the limit', async (t) => {
    t.match(result('from two to three'), { made: virtualFunctions });
    t.match(result('too many'), { code: 'ERR_PASSTHROUGH_ARGUMENT', message: /0 to 4 .* not 5/ });
  });

  t.test('a virtual function is ready to be leased, its controller is not', async (t) => {
    t.match(result('preflight of a virtual function'), { problems: [] });
    t.match(result('preflight of a controller with virtual functions'), {
      problems: ['device-busy'],
      text: [/has 3 virtual functions/],
    });
  });

  t.test('a leased function opens by VFIO', async (t) => {
    t.match(result('lease'), {
      driver: 'vfio-pci',
      asVmm: { viable: 1, vendor: 0x1b36, reset: 1 },
      args: ['-device', `vfio-pci,host=${first},id=hca0`],
      leases: [{ address: first, isHolderAlive: true }],
    });
  });

  t.test('nobody leases it twice', async (t) => {
    t.match(result('lease')['again'], {
      code: 'ERR_PASSTHROUGH_LEASED',
      message: /is leased by pid \d+/,
    });
  });

  t.test('it is neither removed nor released while a VM has it', async (t) => {
    t.match(result('lease'), {
      removal: { code: 'ERR_PASSTHROUGH_LEASED' },
      whileOpen: { code: 'ERR_PASSTHROUGH_BUSY', message: /pid \d+ \(vfio-open\)/ },
      busy: { problems: ['device-leased', 'device-busy'] },
    });
    t.match(result('lease')['second'], { failed: 'open group', errno: 16 }, 'the kernel agrees');
  });

  t.test('after the release everything is as it was', async (t) => {
    t.match(result('after the release'), {
      driver: 'none',
      override: '(null)\n',
      leases: [],
      runDirectory: false,
    });
  });

  t.test(
    'a whole controller is leased when nothing uses it, and gets its driver back',
    async (t) => {
      t.match(result('the whole controller'), {
        open: { problems: ['device-busy'], text: [/is in use by pid \d+ \(node\)/] },
        driver: 'vfio-pci',
        noDriver: { problems: ['driver-missing'] },
        after: 'nvme',
      });
    },
  );

  t.test('a group that the host uses is refused, as the kernel would', async (t) => {
    t.match(result('a shared group'), {
      alone: { problems: ['group-shared'], message: /0000:00:0a\.1 \(nvme\)/ },
      untouched: ['nvme', 'nvme'],
      refused: { failed: 'VFIO_GROUP_SET_CONTAINER', errno: 1 },
    });
  });

  t.test('a whole group is leased as one, and given back as one', async (t) => {
    t.match(result('a shared group'), {
      drivers: ['vfio-pci', 'vfio-pci'],
      asVmm: { viable: 1 },
      other: { code: 'ERR_PASSTHROUGH_LEASED', message: /of the same IOMMU group/ },
      after: ['nvme', 'nvme'],
    });
  });
});
