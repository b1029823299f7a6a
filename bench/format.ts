/** Figures as people read them: three significant digits, and binary prefixes for message sizes. */

/** `0`, `512`, `1 KiB`, `4 MiB`; a size that is no multiple of a prefix stays in bytes. */
export function formatSize(sizeBytes: number): string {
  const mebi = 2 ** 20;
  if (sizeBytes >= mebi && sizeBytes % mebi === 0) return `${sizeBytes / mebi} MiB`;
  if (sizeBytes >= 1024 && sizeBytes % 1024 === 0) return `${sizeBytes / 1024} KiB`;
  return `${sizeBytes} B`;
}

/** Three significant digits without an exponent: `0.187`, `12.3`, `9740`. */
export function formatFigure(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

export function formatRatio(ratio: number): string {
  if (ratio < 0.095) return String(Number(ratio.toPrecision(2)));
  return ratio >= 100 ? ratio.toFixed(0) : ratio >= 10 ? ratio.toFixed(1) : ratio.toFixed(2);
}

export function formatSeconds(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
