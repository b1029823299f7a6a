/**
 * Tables of programs and their options, a line each. A quick run takes each line once, the first with its
 * memory as it is, the second with it remapped, and so on; `npm run test:programs` takes each both ways, and
 * the longer tables too.
 */
const ALL = process.env['VIADUCT_TEST_PROGRAMS'] === 'all';

export interface Row {
  readonly line: string;
  readonly words: readonly string[];
  readonly remap: boolean;
  /** What to say of the row in a test's name. */
  readonly buffers: string;
}

export function rowsOf(quick: string, long = ''): Row[] {
  const lines = (ALL ? quick + long : quick)
    .split('\n')
    .map((line) => line.trim().replaceAll(/\s+/g, ' '))
    .filter((line) => line !== '');
  return lines.flatMap((line, at) =>
    (ALL ? [false, true] : [at % 2 === 1]).map((remap) => ({
      line,
      words: line.split(' '),
      remap,
      buffers: remap ? 'between remapped buffers' : 'between its own buffers',
    })),
  );
}
