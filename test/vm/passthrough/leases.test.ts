/** Leases of several processes, in a guest with a device that has SR-IOV. */
import t from 'tap';

import { runInGuest, withoutQemu } from './guest.js';

t.setTimeout(120_000);

t.test('in a guest with a virtual IOMMU', { skip: withoutQemu }, async (t) => {
  const results = await runInGuest({ program: 'leases', iommu: 'intremap=on' });
  const result = (name: string): Readonly<Record<string, unknown>> =>
    results.get(name) ?? { missing: name };
  const first = '0000:01:00.1';

  t.test('what one process has leased, another does not get', async (t) => {
    t.match(result('another process')['refused'], {
      code: 'ERR_PASSTHROUGH_LEASED',
      message: /is leased by pid \d+/,
    });
  });

  t.test('of two processes at once one gets it', async (t) => {
    const answers = result('two processes at once')['answers'] as Record<string, unknown>[];
    t.same(answers.map(({ value }) => value).filter(Boolean), [first]);
    t.same(answers.map(({ code }) => code).filter(Boolean), ['ERR_PASSTHROUGH_LEASED']);
    t.match(result('two processes at once'), { leases: [], runDirectory: false });
  });

  t.test('what a killed process had leased is taken back, once no VM has it', async (t) => {
    t.match(result('a holder that was killed'), {
      first: { value: first },
      alive: [{ address: first, isHolderAlive: true }],
      dead: [{ address: first, isHolderAlive: false }],
      whileOpen: [],
      whileLeft: { code: 'ERR_PASSTHROUGH_PREFLIGHT', message: /which is gone/ },
      reaped: [first],
      driver: 'none',
    });
  });

  t.test('a user without rights leases what root has prepared', async (t) => {
    t.match(result('a user without rights'), {
      unprepared: { problems: ['permissions'], message: /may not change the driver/ },
      withoutNode: { problems: ['permissions'], message: /chown 65534 \/dev\/vfio\/\d+/ },
      prepared: { value: first },
      left: ['viaduct-passthrough'],
      leftAfter: [],
      driver: 'vfio-pci',
    });
  });

  t.test('memory beyond the limit for locking is found before VFIO fails', async (t) => {
    t.match(result('a user without rights')['tooLarge'], {
      problems: ['memory-lock-limit'],
      message: /may lock \d+ MiB: raise the limit/,
    });
  });
});
