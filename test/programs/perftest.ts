/** The checks that programs of Debian's perftest share: their figures, and what is in their buffers. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Test } from 'tap';

import { runPair, without } from './running.js';
import type { Surroundings } from './surroundings.js';
import type { Row } from './table.js';

const skip = without('ib_send_lat', 'perftest');

/**
 * The sizes of the rows of results: numbers alone, first the size. A deviation may be no number, by rounding; and
 * perftest has times for none where it finds the processor's counter too unsteady, as on an emulated machine.
 */
export function measuredSizes(output: string): number[] {
  return (
    output
      .split('\n')
      // On a busy machine perftest's complaint about its clock stands behind a result, in the same line.
      .filter((line) =>
        /^\s*\d+(\s+([\d.]+|-?nan|inf)){2,}\s*(Correlation coefficient.*)?$/.test(line),
      )
      .map((line) => Number(line.trim().split(/\s+/)[0]))
  );
}

/** Runs each row, and looks for a result for each size. */
export function testMeasuring(t: Test, surroundings: Surroundings, rows: readonly Row[]): void {
  for (const { line, words, remap, buffers } of rows) {
    t.test(`${line} measures ${buffers}`, { skip }, async (t) => {
      const iterations = words.includes('-n') || words.includes('-D') ? [] : ['-n', '100'];
      // -F: whatever the frequencies of the processors.
      const program = [...words, ...iterations, '-F'];
      const outputs = await runPair(t, surroundings, program, { remap });
      if (outputs === undefined) return;
      const all = words.includes('UD') ? 12 : 23; // 2 to 4096, or to 2^23
      // --report-both shows each more than once.
      const sizes = new Set(measuredSizes(outputs.client));
      t.equal(sizes.size, words.includes('-a') ? all : 1, 'it has a result for each size', {
        output: outputs.client,
      });
    });
  }
}

/**
 * Runs each line with buffers in files, which tell what was moved. perftest fills both with random bytes, and
 * sends from the first half of the client's to the second half of the server's, or reads the other way round.
 */
export function testMoving(t: Test, surroundings: Surroundings, lines: readonly string[]): void {
  for (const line of lines) {
    t.test(`${line} moves what is in its buffer`, { skip }, async (t) => {
      const sizeBytes = line.includes('UD') ? 4096 : 32768;
      const folder = mkdtempSync(join(tmpdir(), 'perftest-'));
      t.teardown(() => rmSync(folder, { recursive: true }));
      const [server, client] = [join(folder, 'server'), join(folder, 'client')];
      for (const path of [server, client]) writeFileSync(path, randomBytes(4 * sizeBytes));
      const words = [...line.split(' '), '-s', String(sizeBytes), '-n', '20', '-F'];
      const outputs = await runPair(t, surroundings, words, {
        server: [`--mmap=${server}`],
        client: [`--mmap=${client}`],
      });
      if (outputs === undefined) return;
      const moved = readFileSync(client).subarray(0, sizeBytes);
      t.ok(new Set(moved).size > 100, 'the data is not all alike');
      t.not(readFileSync(server).indexOf(moved, sizeBytes), -1, 'it is at its destination');
    });
  }
}
