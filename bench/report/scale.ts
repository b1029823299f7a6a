/** Axes: where a value stands between two ends, and which values carry a tick. */

export interface Tick {
  readonly value: number;
  /** Empty for a line without a number. */
  readonly label: string;
}

export interface Scale {
  /** From 0 at the axis' start to 1 at its end. */
  position(value: number): number;
  readonly ticks: readonly Tick[];
}

/** A plain number without an exponent: `0.1`, `1`, `10 000`. */
function plain(value: number): string {
  const text = String(Number(value.toPrecision(6)));
  return text.includes('.') ? text : text.replace(/\B(?=(\d{3})+$)/g, ' ');
}

/** Logarithmic, widened to whole decades; the lines between decades have no number. */
export function decadeScale(values: readonly number[]): Scale {
  const first = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9));
  const ticks: Tick[] = [];
  for (let exponent = first; exponent <= last; exponent++) {
    for (let digit = 1; digit <= (exponent === last ? 1 : 9); digit++) {
      const value = digit * 10 ** exponent;
      ticks.push({ value, label: digit === 1 ? plain(value) : '' });
    }
  }
  return { position: (value) => (Math.log10(value) - first) / (last - first), ticks };
}

function shortSize(sizeBytes: number): string {
  if (sizeBytes >= 2 ** 20 && sizeBytes % 2 ** 20 === 0) return `${sizeBytes / 2 ** 20}M`;
  if (sizeBytes >= 1024 && sizeBytes % 1024 === 0) return `${sizeBytes / 1024}K`;
  return String(sizeBytes);
}

/**
 * Message sizes on a logarithmic axis. 0 has no logarithm: it stands one doubling left of the smallest
 * other size, where its tick says 0.
 */
export function sizeScale(sizes: readonly number[]): Scale {
  const positive = sizes.filter((size) => size > 0);
  const least = Math.log2(positive.length > 0 ? Math.min(...positive) : 1);
  const most = Math.log2(positive.length > 0 ? Math.max(...positive) : 2);
  const start = sizes.includes(0) ? least - 1 : least;
  const end = Math.max(most, start + 1);
  const ticks: Tick[] = sizes.includes(0) ? [{ value: 0, label: '0' }] : [];
  for (let exponent = Math.ceil(least); exponent <= end; exponent++) {
    if (exponent % 2 === 0) ticks.push({ value: 2 ** exponent, label: shortSize(2 ** exponent) });
  }
  return {
    position: (size) => ((size > 0 ? Math.log2(size) : start) - start) / (end - start),
    ticks,
  };
}

/** The smallest of 1, 2, 5, 10, 20… hundredths that divides a length into at most `parts`. */
function roundStep(length: number, parts: number): number {
  for (let decade = 0.01; ; decade *= 10) {
    const step = [decade, 2 * decade, 5 * decade].find((one) => length / one <= parts + 1e-9);
    if (step !== undefined) return step;
  }
}

/** Linear and about 1, wide enough for all values, with a tick at each round step; ends at 0 at the latest. */
export function ratioScale(values: readonly number[]): Scale {
  const above = Math.max(0.2, ...values.map((value) => value - 1));
  const below = Math.min(1, Math.max(0.2, ...values.map((value) => 1 - value)));
  const step = roundStep(above + below, 8);
  const ticks: Tick[] = [];
  const first = Math.max(-Math.round(1 / step), -Math.ceil(below / step - 1e-9));
  const last = Math.ceil(above / step - 1e-9);
  for (let i = first; i <= last; i++) {
    ticks.push({ value: 1 + i * step, label: Math.max(0, 1 + i * step).toFixed(step < 1 ? 2 : 0) });
  }
  return { position: (value) => ((value - 1) / step - first) / (last - first), ticks };
}
