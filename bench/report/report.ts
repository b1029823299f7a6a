/** The report: one HTML page with charts, tables, the machine and how it was measured; needs no other file. */
import { measuredAims } from '../aims.js';
import { formatFigure, formatRatio, formatSize } from '../format.js';
import type { Machine } from '../machine.js';
import type { Benchmark, Sampled, Subject } from '../measurement.js';
import type { Options } from '../options.js';
import { comparisonsOf, isViaduct, labelOf, peerName, subjectsOf } from '../series.js';
import { pairedRatio, sameSubject, summarise } from '../statistics.js';
import { tableOf, titleOf } from '../table.js';
import { escapeXml, renderChart } from './chart.js';
import type { Series, Style } from './chart.js';
import { pageStyle } from './page-style.js';
import { decadeScale, ratioScale, sizeScale } from './scale.js';

/** What the report says of how the run was done. */
export type ReportOptions = Pick<Options, 'benchmarks' | 'rounds' | 'samples'>;

const sizeName = 'message size, bytes';

function styleOf(subject: Subject): Style {
  if (subject.where === 'vm-tcp')
    return { colour: 'vmtcp', marker: 'triangle', dashed: false, width: 1.8, layer: 0 };
  if (subject.where === 'tcp')
    return { colour: 'tcp', marker: 'square', dashed: false, width: 1.8, layer: 0 };
  if (!isViaduct(subject)) {
    return peerName(subject.peer) === 'MPICH'
      ? { colour: 'mpich', marker: 'diamond', dashed: true, width: 1.8, layer: 0 }
      : { colour: 'openmpi', marker: 'cross', dashed: true, width: 1.8, layer: 0 };
  }
  if (subject.where === 'verbs')
    return { colour: 'native', marker: 'triangle', dashed: true, width: 1.8, layer: 0 };
  // The VM's curve lies on the native one: a ring about a disc shows both.
  return subject.where === 'vm'
    ? { colour: 'vm', marker: 'ring', dashed: false, width: 1.6, layer: 2 }
    : { colour: 'native', marker: 'disc', dashed: false, width: 2.4, layer: 1 };
}

function figureChart(sampled: readonly Sampled[], benchmark: Benchmark): string {
  const all = summarise(sampled).filter((one) => one.benchmark === benchmark);
  const unit = benchmark === 'latency' ? 'µs' : 'MB/s';
  const series = subjectsOf(sampled, benchmark).map((subject): Series => ({
    label: labelOf(subject),
    style: styleOf(subject),
    points: all
      .filter((one) => sameSubject(one, subject))
      .sort((a, b) => a.sizeBytes - b.sizeBytes)
      .map(({ sizeBytes, median, min, max }) => ({
        x: sizeBytes,
        y: median,
        tip: `${formatSize(sizeBytes)}: ${formatFigure(median)} ${unit} (${formatFigure(min)} to ${formatFigure(max)})`,
      })),
  }));
  return renderChart({
    title: `${titleOf[benchmark]} by message size`,
    xName: sizeName,
    yName: benchmark === 'latency' ? 'one-way latency, µs' : 'bandwidth, MB/s',
    x: sizeScale(all.map((one) => one.sizeBytes)),
    y: decadeScale(all.map((one) => one.median)),
    height: 460,
    series,
  });
}

/** VM over native by size: the cost of virtualisation, with the range of the rounds. */
function ratioChart(sampled: readonly Sampled[], benchmark: Benchmark): string | undefined {
  const subjects = subjectsOf(sampled, benchmark);
  const comparison = comparisonsOf(subjects).find(
    ({ over, under }) => over.where === 'vm' && under.where === 'native',
  );
  if (!comparison) return undefined;
  const sizes = [...new Set(sampled.map((one) => one.sizeBytes))].sort((a, b) => a - b);
  const points = sizes.flatMap((sizeBytes) => {
    const ratio = pairedRatio(sampled, benchmark, sizeBytes, comparison.over, comparison.under);
    if (!ratio) return [];
    const range = `${formatRatio(ratio.min)} to ${formatRatio(ratio.max)} in ${ratio.rounds} rounds`;
    return [
      {
        x: sizeBytes,
        y: ratio.median,
        low: ratio.min,
        high: ratio.max,
        tip: `${formatSize(sizeBytes)}: ${formatRatio(ratio.median)} (${range})`,
      },
    ];
  });
  if (points.length === 0) return undefined;
  return renderChart({
    title: `${benchmark} between virtual machines over ${benchmark} natively, by message size`,
    xName: sizeName,
    yName: 'VM / native',
    x: sizeScale(points.map(({ x }) => x)),
    y: ratioScale(points.map(({ y }) => y)),
    height: 280,
    reference: 1,
    series: [
      {
        label: `${benchmark}, VM / native: median and range of the rounds`,
        style: { colour: 'vm', marker: 'disc', dashed: false, width: 1.8, layer: 0 },
        points,
      },
    ],
  });
}

function figure(caption: string, svg: string): string {
  return `<figure><figcaption>${escapeXml(caption)}</figcaption>\n${svg}\n</figure>`;
}

function table(sampled: readonly Sampled[], benchmark: Benchmark): string {
  const { figureHeadings, ratioHeadings, rows } = tableOf(sampled, benchmark);
  const ratio = (tag: string) => (text: string, index: number) =>
    `<${tag}${index === 0 ? ' class="first-ratio"' : ''}>${escapeXml(text).replace('/', ' /<br>')}</${tag}>`;
  const head = [
    ...figureHeadings.map((text) => `<th>${escapeXml(text)}</th>`),
    ...ratioHeadings.map(ratio('th')),
  ];
  const body = rows.map(
    ({ sizeBytes, figures, ratios }) =>
      `<tr><td>${formatSize(sizeBytes)}</td>${figures.map((text) => `<td>${text}</td>`).join('')}${ratios.map(ratio('td')).join('')}</tr>`,
  );
  return `<h2>${escapeXml(titleOf[benchmark])}</h2>
<div class="scroll"><table><thead><tr><th>size</th>${head.join('')}</tr></thead>
<tbody>
${body.join('\n')}
</tbody></table></div>`;
}

function tiles(sampled: readonly Sampled[]): string {
  const aims = measuredAims(sampled).map(
    ({ sizeBytes, benchmark, over, under, measured, bound, ratio, reached }) =>
      `<li><strong>${formatRatio(measured.median)}</strong>${escapeXml(`${formatSize(sizeBytes)} ${benchmark}, ${over} / ${under}`)}` +
      `<br><span class="muted">aim: ${bound} ${formatRatio(ratio)}, ${reached ? 'reached' : 'not reached'}</span></li>`,
  );
  return aims.length === 0 ? '' : `<ul class="tiles">\n${aims.join('\n')}\n</ul>`;
}

function machineList(machine: Machine): string {
  const rows: [string, string][] = [
    ['Processor', `${machine.processor}, ${machine.cores} core${machine.cores === 1 ? '' : 's'}`],
    ['Memory', `${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`],
    ['System', `${machine.operatingSystem}, Linux ${machine.kernel}`],
    ['Load before the run', machine.loadBefore.toFixed(2)],
    ...Object.entries(machine.versions),
  ];
  return `<dl>\n${rows.map(([term, text]) => `<dt>${escapeXml(term)}</dt><dd>${escapeXml(text)}</dd>`).join('\n')}\n</dl>`;
}

function method({ rounds, samples }: ReportOptions, cores: number): string {
  const bound = cores >= 2 ? ', each bound to a core of its own' : '';
  const rounded = `${rounds} round${rounds === 1 ? '' : 's'} of ${samples} sample${samples === 1 ? '' : 's'}`;
  return `<p>Two ranks${bound}, in the manner of the OSU micro-benchmarks. Latency is half the round trip of a
ping-pong of blocking sends and receives. Bandwidth is that of windows of 64 non-blocking messages in one direction (over
TCP of at most 16 MiB), each window answered by one byte; a MB is 10<sup>6</sup> bytes. Each size is warmed up first. A
sample is up to 10 000 round trips or 200 windows (1000 and 40 above 8 KiB; over TCP 1000 round trips, and 200 above 8 KiB),
and fewer where they would take more than 20 ms. Payloads are checked at every size, outside of the timed loops.</p>
<p>Native, VM and C programs run in turn, ${rounded} each; figures are medians of all samples. A ratio is the median of the
ratios of each round, so that a drift of the machine's speed cancels out. TCP is measured in the first round only. Times on
a shared machine do not carry over to another day; ratios do.</p>`;
}

/** The page's text. */
export function renderReport(
  sampled: readonly Sampled[],
  machine: Machine,
  options: ReportOptions,
): string {
  const figures = options.benchmarks.map((benchmark) =>
    figure(benchmark === 'latency' ? 'Latency' : 'Bandwidth', figureChart(sampled, benchmark)),
  );
  const ratios = options.benchmarks.flatMap((benchmark) => {
    const svg = ratioChart(sampled, benchmark);
    return svg === undefined ? [] : [figure(`VM over native, ${benchmark}`, svg)];
  });
  const day = machine.date.slice(0, 16).replace('T', ' ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Viaduct: latency and bandwidth</title>
<style>${pageStyle}</style>
</head>
<body>
<h1>Messages between virtual machines, past the VMM</h1>
<p class="muted">Viaduct ${escapeXml(machine.versions['viaduct'] ?? '')}, ${day} UTC, ${escapeXml(machine.processor)}</p>
${tiles(sampled)}
<div class="charts">
${[...figures, ...ratios].join('\n')}
</div>
${options.benchmarks.map((benchmark) => table(sampled, benchmark)).join('\n')}
<h2>Machine and versions</h2>
${machineList(machine)}
<h2>How it was measured</h2>
${method(options, machine.cores)}
</body>
</html>
`;
}
