/** Draws one chart as SVG text: lines with markers over a grid, a legend above, names of both axes. */
import type { Scale } from './scale.js';

export type Marker = 'disc' | 'ring' | 'square' | 'diamond' | 'triangle' | 'cross';

export interface Style {
  /** Class that gives the colour, so that a dark page can change it. */
  readonly colour: string;
  readonly marker: Marker;
  readonly dashed: boolean;
  readonly width: number;
  /** Lines of a higher layer are drawn over those of a lower one. */
  readonly layer: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Ends of a whisker, which is cut off at the frame. */
  readonly low?: number;
  readonly high?: number;
  /** Shown when the pointer rests on the marker. */
  readonly tip: string;
}

export interface Series {
  readonly label: string;
  readonly style: Style;
  readonly points: readonly Point[];
}

export interface Chart {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly x: Scale;
  readonly y: Scale;
  readonly height: number;
  /** A horizontal line that stands out. */
  readonly reference?: number;
  /** In the order of the legend. */
  readonly series: readonly Series[];
}

const width = 680;
const left = 72;
const right = 18;
const bottom = 54;
const legendRow = 22;
const legendColumns = 2;

export function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

const n = (value: number): string => String(Math.round(value * 100) / 100);

function markerAt(marker: Marker, x: number, y: number): string {
  const shape = (d: string): string => `<path class="fill" d="M${n(x)} ${n(y)}${d}"/>`;
  switch (marker) {
    case 'disc':
      return `<circle class="fill" cx="${n(x)}" cy="${n(y)}" r="4"/>`;
    case 'ring':
      return `<circle class="open" cx="${n(x)}" cy="${n(y)}" r="5"/>`;
    case 'square':
      return shape('m-3.5-3.5h7v7h-7z');
    case 'diamond':
      return shape('m0-5l5 5l-5 5l-5-5z');
    case 'triangle':
      return shape('m0-5l4.8 8.4h-9.6z');
    case 'cross':
      return `<path class="open" d="M${n(x - 3.5)} ${n(y - 3.5)}l7 7m0-7l-7 7"/>`;
  }
}

function lineClass({ dashed }: Style): string {
  return dashed ? 'line dashed' : 'line';
}

function legend(series: readonly Series[]): string {
  const columnWidth = (width - left - right) / legendColumns;
  return series
    .map(({ label, style }, index) => {
      const x = left + (index % legendColumns) * columnWidth;
      const y = 14 + Math.floor(index / legendColumns) * legendRow;
      return (
        `<g class="${style.colour}"><path class="${lineClass(style)}" stroke-width="${style.width}" d="M${n(x)} ${n(y)}h34"/>` +
        `${markerAt(style.marker, x + 17, y)}</g>` +
        `<text class="legend" x="${n(x + 42)}" y="${n(y + 4.5)}">${escapeXml(label)}</text>`
      );
    })
    .join('\n');
}

/** A `<svg>` element for an HTML page that defines the classes of `chartStyle`. */
export function renderChart(chart: Chart): string {
  const top = 14 + Math.ceil(chart.series.length / legendColumns) * legendRow;
  const plotWidth = width - left - right;
  const plotHeight = chart.height - top - bottom;
  const atX = (value: number): number => left + chart.x.position(value) * plotWidth;
  const atY = (value: number): number => top + (1 - chart.y.position(value)) * plotHeight;

  const inPlot = (value: number): number => Math.min(top + plotHeight, Math.max(top, atY(value)));

  const rows = chart.y.ticks.map(({ value, label }) => {
    const y = n(atY(value));
    const number =
      label === ''
        ? ''
        : `<text class="tick" x="${left - 9}" y="${n(atY(value) + 4)}" text-anchor="end">${label}</text>`;
    return `<path class="${label === '' ? 'grid minor' : 'grid'}" d="M${left} ${y}h${n(plotWidth)}"/>${number}`;
  });
  const columns = chart.x.ticks.map(({ value, label }) => {
    const x = n(atX(value));
    return (
      `<path class="grid" d="M${x} ${top}v${n(plotHeight)}"/>` +
      `<text class="tick" x="${x}" y="${n(top + plotHeight + 18)}" text-anchor="middle">${label}</text>`
    );
  });
  const reference =
    chart.reference === undefined
      ? ''
      : `<path class="reference" d="M${left} ${n(atY(chart.reference))}h${n(plotWidth)}"/>`;
  const inLayers = [...chart.series].sort((a, b) => a.style.layer - b.style.layer);
  const lines = inLayers.map(({ label, style, points }) => {
    const path = points
      .map(({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${n(atX(x))} ${n(atY(y))}`)
      .join('');
    const marks = points.map(({ x, y, low, high, tip }) => {
      const whisker =
        low === undefined || high === undefined
          ? ''
          : `<path class="line" stroke-width="1.2" d="M${n(atX(x))} ${n(inPlot(low))}V${n(inPlot(high))}"/>`;
      return `<g><title>${escapeXml(`${label}\n${tip}`)}</title>${whisker}${markerAt(style.marker, atX(x), atY(y))}</g>`;
    });
    return `<g class="${style.colour}"><path class="${lineClass(style)}" stroke-width="${style.width}" d="${path}"/>${marks.join('')}</g>`;
  });

  const middleY = n(top + plotHeight / 2);
  return [
    `<svg viewBox="0 0 ${width} ${chart.height}" role="img" aria-label="${escapeXml(chart.title)}">`,
    legend(chart.series),
    ...rows,
    ...columns,
    `<rect class="frame" x="${left}" y="${top}" width="${n(plotWidth)}" height="${n(plotHeight)}"/>`,
    reference,
    ...lines,
    `<text class="axis" x="${n(left + plotWidth / 2)}" y="${chart.height - 10}" text-anchor="middle">${escapeXml(chart.xName)}</text>`,
    `<text class="axis" x="16" y="${middleY}" text-anchor="middle" transform="rotate(-90 16 ${middleY})">${escapeXml(chart.yName)}</text>`,
    '</svg>',
  ].join('\n');
}
