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

/** Linear and about 1, wide enough for all values, with a tick at each round step. */
export function ratioScale(values: readonly number[]): Scale {
  const reach = Math.max(0.2, ...values.map((value) => Math.abs(value - 1)));
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find((one) => reach / one <= 4.01) ?? reach / 4;
  const lowest = Math.max(0, 1 - Math.ceil(reach / step - 1e-9) * step);
  const highest = 1 + Math.ceil(reach / step - 1e-9) * step;
  const ticks: Tick[] = [];
  for (let i = 0; lowest + i * step <= highest + 1e-9; i++) {
    const value = lowest + i * step;
    ticks.push({ value, label: value.toFixed(2) });
  }
  return { position: (value) => (value - lowest) / (highest - lowest), ticks };
}
