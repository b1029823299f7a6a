import t from 'tap';

import type { Sampled } from '../../bench/measurement.js';
import { median, midmean, pairedRatio, summarise } from '../../bench/statistics.js';

const native = { where: 'native', peer: 'viaduct 1.0.0' } as const;
const vm = { where: 'vm', peer: 'viaduct 1.0.0' } as const;
const mpich = { where: 'native', peer: 'MPICH 4.0.2' } as const;

function sampled(
  subject: Pick<Sampled, 'where' | 'peer'>,
  round: number,
  samples: number[],
  sizeBytes = 8,
): Sampled {
  return { benchmark: 'latency', ...subject, round, sizeBytes, samples };
}

t.test('the median is the middle value, whatever the order', async (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([3]), 3);
});

t.test('the median of an even number of values is the mean of the two in the middle', async (t) => {
  t.equal(median([1, 100, 2, 4]), 3);
});

t.test('the median of no values is an error, not NaN', async (t) => {
  t.throws(() => median([]), RangeError);
});

t.test('the median leaves its argument in order', async (t) => {
  const values = [3, 1, 2];
  median(values);
  t.same(values, [3, 1, 2]);
});

t.test('the midmean leaves out a quarter of the values at either end', async (t) => {
  t.equal(midmean([1000, 4, 2, 3, 1, 6, 5, -1000]), 3.5);
  t.equal(midmean([3]), 3);
  t.throws(() => midmean([]), RangeError);
});

t.test(
  'rounds of one subject and size become one measurement with all their samples',
  async (t) => {
    const rows = summarise([
      sampled(native, 0, [2, 1]),
      sampled(vm, 0, [7]),
      sampled(native, 1, [9]),
      sampled(native, 1, [4], 16),
      sampled(mpich, 1, [5]),
    ]);
    t.equal(rows.length, 4);
    t.same(rows[0], {
      benchmark: 'latency',
      ...native,
      sizeBytes: 8,
      unit: 'us',
      median: 2,
      min: 1,
      max: 9,
      samples: [2, 1, 9],
    });
  },
);

t.test(
  'a ratio is taken within each round, so that a drift common to both cancels out',
  async (t) => {
    const ratio = pairedRatio(
      [
        sampled(native, 0, [10]),
        sampled(vm, 0, [11]),
        sampled(native, 1, [100]),
        sampled(vm, 1, [110]),
        sampled(native, 2, [30]),
        sampled(vm, 2, [36]),
      ],
      'latency',
      8,
      vm,
      native,
    );
    t.ok(ratio);
    t.ok(Math.abs((ratio?.median ?? 0) - 1.1) < 1e-12);
    t.ok(Math.abs((ratio?.max ?? 0) - 1.2) < 1e-12);
    t.equal(ratio?.rounds, 3);
  },
);

t.test('a round that lacks one side of a ratio is left out', async (t) => {
  const all = [sampled(native, 0, [10]), sampled(vm, 0, [20]), sampled(vm, 1, [900])];
  t.same(pairedRatio(all, 'latency', 8, vm, native), { median: 2, min: 2, max: 2, rounds: 1 });
});

t.test('there is no ratio without a round, or with another size or peer', async (t) => {
  const all = [sampled(native, 0, [10]), sampled(vm, 1, [20]), sampled(vm, 0, [20], 16)];
  t.equal(pairedRatio(all, 'latency', 8, vm, native), undefined);
  t.equal(pairedRatio(all, 'latency', 16, vm, mpich), undefined);
});
