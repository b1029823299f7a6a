import t from 'tap';

import { measuredAims } from '../../bench/aims.js';
import { formatFigure, formatRatio, formatSeconds, formatSize } from '../../bench/format.js';
import { parseRankResult } from '../../bench/measurement.js';
import type { Benchmark, Sampled, Where } from '../../bench/measurement.js';
import { comparisonsOf, headingOf, subjectsOf } from '../../bench/series.js';
import { formatAims, formatTable } from '../../bench/table.js';

function one(
  where: Where,
  peer: string,
  value: number,
  sizeBytes = 8,
  benchmark: Benchmark = 'latency',
): Sampled {
  return { benchmark, where, peer, round: 0, sizeBytes, samples: [value] };
}

const run = [
  one('tcp', 'Node.js net 20.0.0', 24.4),
  one('native', 'Open MPI 4.1.4', 0.16),
  one('native', 'MPICH 4.0.2', 0.2),
  one('vm', 'viaduct 1.0.0', 0.21),
  one('native', 'viaduct 1.0.0', 0.2),
  one('vm-tcp', 'Node.js net 20.0.0', 588),
];

t.test('figures have three significant digits and no exponent', async (t) => {
  t.same([0, 0.01234, 0.187, 1.2345, 12.345, 123.45, 12345.6].map(formatFigure), [
    '0',
    '0.0123',
    '0.187',
    '1.23',
    '12.3',
    '123',
    '12346',
  ]);
});

t.test(
  'ratios near 1 have two decimals; far ones only the digits that tell something',
  async (t) => {
    t.same([0.0011, 0.97, 1.049, 12.34, 2941.2].map(formatRatio), [
      '0.0011',
      '0.97',
      '1.05',
      '12.3',
      '2941',
    ]);
  },
);

t.test('sizes have binary prefixes where they are whole', async (t) => {
  t.same([0, 8, 1000, 1024, 1536, 4 * 2 ** 20].map(formatSize), [
    '0 B',
    '8 B',
    '1000 B',
    '1 KiB',
    '1536 B',
    '4 MiB',
  ]);
});

t.test('times of progress are in seconds, then minutes', async (t) => {
  t.same([400, 59_400, 61_000].map(formatSeconds), ['0 s', '59 s', '1 min 1 s']);
});

t.test('subjects come in one order, whatever the order of the runs', async (t) => {
  t.same(subjectsOf(run, 'latency').map(headingOf), [
    'native',
    'VM',
    'MPICH',
    'Open MPI',
    'VM TCP',
    'TCP',
  ]);
});

t.test(
  'VM is compared with native, native with each peer, and TCP between VMs with the bypass',
  async (t) => {
    t.same(
      comparisonsOf(subjectsOf(run, 'latency')).map(({ heading }) => heading),
      ['VM/native', 'native/MPICH', 'native/Open MPI', 'VM TCP/VM'],
    );
    t.same(comparisonsOf(subjectsOf([one('vm', 'viaduct 1.0.0', 1)], 'latency')), []);
  },
);

t.test(
  'a table has a line for each size in order, columns set right, and a dash for what is missing',
  async (t) => {
    const text = formatTable(
      [one('vm', 'viaduct 1.0.0', 0.42, 1024), one('vm', 'viaduct 1.0.0', 0.21), ...run.slice(4)],
      'latency',
    );
    t.equal(
      text,
      [
        'Latency, one way, µs (median)',
        ' size  native     VM  VM TCP  |  VM/native  VM TCP/VM',
        '  8 B   0.200  0.210     588  |       1.05       2800',
        '1 KiB       –  0.420       –  |          –          –',
        '',
      ].join('\n'),
    );
  },
);

t.test('an aim is reached up to the last digit that is shown', async (t) => {
  const aims = measuredAims(run);
  t.same(
    aims.map(({ over, under, reached }) => [over, under, reached]),
    [
      ['VM', 'native', true],
      ['native', 'MPICH', true],
    ],
  );
  t.match(
    formatAims(run),
    '8 B latency, VM / native: 1.05 (1.05 to 1.05 in 1 round; aim: at most 1.05, reached)',
  );
});

t.test('an aim that is missed says so', async (t) => {
  const slow = [
    one('native', 'viaduct 1.0.0', 10_000, 2 ** 20, 'bandwidth'),
    one('vm', 'viaduct 1.0.0', 9_600, 2 ** 20, 'bandwidth'),
  ];
  t.match(
    formatAims(slow),
    'VM / native: 0.96 (0.96 to 0.96 in 1 round; aim: at least 0.97, not reached)',
  );
});

t.test('an aim without figures is not mentioned', async (t) => {
  t.equal(formatAims([one('native', 'viaduct 1.0.0', 0.2)]), '');
});

t.test('a line of a rank program is parsed', async (t) => {
  const result = {
    transport: 'mpi',
    benchmark: 'latency',
    sizeBytes: 8,
    iterations: 100,
    samples: [0.2, 0.21],
  };
  t.same(parseRankResult(JSON.stringify(result)), result);
});

t.test('a line that is no result is refused, and quoted', async (t) => {
  for (const line of [
    'Segmentation fault',
    '{}',
    'null',
    '{"transport":"mpi","benchmark":"latency","sizeBytes":8,"iterations":1,"samples":[]}',
    '{"transport":"mpi","benchmark":"latency","sizeBytes":8,"iterations":1,"samples":[null]}',
    '{"transport":"mpi","benchmark":"latency","sizeBytes":8,"iterations":1,"samples":[-1]}',
    '{"transport":"mpi","benchmark":"speed","sizeBytes":8,"iterations":1,"samples":[1]}',
  ]) {
    t.throws(() => parseRankResult(line), { message: line });
  }
});
