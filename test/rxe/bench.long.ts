/** The verbs benchmark runs in guests with Soft-RoCE, and has its figures. What they are is not tested, but shown. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import t from 'tap';

import { packageRoot } from '../../lib/addon/index.js';
import { withoutRxe } from './guests.js';

interface Report {
  readonly rounds: readonly Readonly<Record<string, number>>[];
}

t.test('JavaScript and C are measured beside each other', { skip: withoutRxe }, async (test) => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-rxe-'));
  test.teardown(() => rmSync(folder, { recursive: true }));
  const json = join(folder, 'figures.json');
  const bench = join(packageRoot, 'dist', 'bench', 'main.js');
  const args = [bench, 'rxe', '--rounds', '1', '--json', json];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  for (const line of stdout.trim().split('\n')) t.comment(line);
  const { rounds } = JSON.parse(readFileSync(json, 'utf8')) as Report;
  const figures = Object.entries(rounds[0] ?? {});
  test.equal(figures.length, 10, 'five subjects, each in both languages');
  for (const [what, figure] of figures) {
    test.ok(figure > 0 && Number.isFinite(figure), `${what}: ${figure}`);
  }
});
