import t from 'tap';

import type { Machine } from '../../bench/machine.js';
import type { Sampled } from '../../bench/measurement.js';
import { renderChart } from '../../bench/report/chart.js';
import { renderReport } from '../../bench/report/report.js';
import { decadeScale, ratioScale, sizeScale } from '../../bench/report/scale.js';
import type { Scale } from '../../bench/report/scale.js';

function labels(scale: Scale): string[] {
  return scale.ticks.map(({ label }) => label).filter((label) => label !== '');
}

t.test(
  'a decade scale goes from the decade below the least value to the one above the greatest',
  async (t) => {
    const scale = decadeScale([0.19, 3, 587]);
    t.same(labels(scale), ['0.1', '1', '10', '100', '1 000']);
    t.equal(scale.position(0.1), 0);
    t.equal(scale.position(10), 0.5);
    t.equal(scale.position(1000), 1);
  },
);

t.test('a decade scale of equal values still has a width', async (t) => {
  t.same(labels(decadeScale([10, 10])), ['10', '100']);
});

t.test('a size scale gives 0 a place one doubling left of the smallest size', async (t) => {
  const scale = sizeScale([0, 1, 2, 4, 8]);
  t.same(labels(scale), ['0', '1', '4']);
  t.equal(scale.position(0), 0);
  t.equal(scale.position(1), 0.25);
  t.equal(scale.position(8), 1);
});

t.test('a size scale begins at the smallest size where there is no 0', async (t) => {
  const scale = sizeScale([4096, 4 * 2 ** 20]);
  t.equal(scale.position(4096), 0);
  t.equal(scale.position(4 * 2 ** 20), 1);
  t.ok(labels(scale).includes('1M'));
});

t.test('a size scale of one size has finite positions', async (t) => {
  t.ok(Number.isFinite(sizeScale([8]).position(8)));
  t.ok(Number.isFinite(sizeScale([0]).position(0)));
});

t.test('a ratio scale has a tick at 1 and holds every value', async (t) => {
  for (const values of [[1], [0.98, 1.31], [0.4, 0.9], [0.01, 8.1], [700]]) {
    const scale = ratioScale(values);
    t.ok(
      scale.ticks.some(({ value }) => value === 1),
      `${values.join()}: ${labels(scale).join()}`,
    );
    t.ok(scale.ticks.length <= 11);
    t.ok(values.every((value) => scale.position(value) >= 0 && scale.position(value) <= 1));
    t.ok(Math.abs(scale.position(scale.ticks[0].value)) < 1e-9);
    t.ok(Math.abs(scale.position(scale.ticks.at(-1)?.value ?? 0) - 1) < 1e-9);
  }
});

t.test('a ratio scale of ratios near 1 goes from 0.80 to 1.20', async (t) => {
  const shown = labels(ratioScale([0.99, 1.02]));
  t.same([shown[0], shown.at(-1)], ['0.80', '1.20']);
});

const chart = {
  title: 'latency',
  xName: 'message size, bytes',
  yName: 'µs',
  x: sizeScale([1, 4]),
  y: decadeScale([1, 10]),
  height: 400,
  series: [
    {
      label: 'a < b & "c"',
      style: { colour: 'native', marker: 'disc', dashed: false, width: 2, layer: 0 },
      points: [
        { x: 1, y: 1, tip: 'first' },
        { x: 4, y: 10, tip: 'second', low: 9, high: 10 },
      ],
    },
  ],
} as const;

t.test(
  'a chart draws each point where the scales put it, the first at the lower left',
  async (t) => {
    const svg = renderChart(chart);
    const [first, last] = [
      ...svg.matchAll(/<circle class="fill" cx="([\d.]+)" cy="([\d.]+)"/g),
    ].slice(1);
    const frame =
      /<rect class="frame" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/.exec(svg);
    const [x, y, width, height] = (frame ?? []).slice(1).map(Number) as [
      number,
      number,
      number,
      number,
    ];
    t.same([Number(first[1]), Number(first[2])], [x, y + height]);
    t.same([Number(last[1]), Number(last[2])], [x + width, y]);
  },
);

t.test('a chart escapes its labels', async (t) => {
  const svg = renderChart(chart);
  t.match(svg, 'a &lt; b &amp; &quot;c&quot;');
  t.notMatch(svg, 'a < b');
});

const machine: Machine = {
  date: '2026-01-02T03:04:05.678Z',
  processor: 'A <fast> processor',
  cores: 2,
  memoryBytes: 8 * 2 ** 30,
  operatingSystem: 'Debian GNU/Linux 12',
  kernel: '6.1.0',
  loadBefore: 0.1,
  versions: { viaduct: '1.0.0', 'Node.js': '20.0.0' },
};
const options = { benchmarks: ['latency', 'bandwidth'], rounds: 1, samples: 2 } as const;
const run: Sampled[] = (['latency', 'bandwidth'] as const).flatMap((benchmark) =>
  (['native', 'vm'] as const).flatMap((where) =>
    [1, 8].map((sizeBytes) => ({
      benchmark,
      where,
      peer: 'viaduct 1.0.0',
      round: 0,
      sizeBytes,
      samples: [1, 2],
    })),
  ),
);

t.test('the report needs no other file: no link, script, image or address', async (t) => {
  const html = renderReport(run, machine, options);
  t.notMatch(html, /<(link|script|img|iframe|object)\b/);
  t.notMatch(html, /(https?:)?\/\/[a-z]|url\(|@import/i);
});

t.test('the report has both charts, both ratio charts, both tables and the machine', async (t) => {
  const html = renderReport(run, machine, options);
  t.equal([...html.matchAll(/<svg /g)].length, 4);
  t.equal([...html.matchAll(/<table>/g)].length, 2);
  t.match(html, 'A &lt;fast&gt; processor, 2 cores');
  t.match(html, '2026-01-02 03:04 UTC');
  t.notMatch(html, /NaN|undefined|Infinity/);
});

t.test('the report of one place has no ratio charts', async (t) => {
  const html = renderReport(
    run.filter((one) => one.where === 'vm'),
    machine,
    options,
  );
  t.equal([...html.matchAll(/<svg /g)].length, 2);
  t.notMatch(html, /NaN|undefined|Infinity/);
});
