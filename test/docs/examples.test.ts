/** Every example in the docstrings and in the README compiles, runs, and prints what it says. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { withoutUml } from '../uml-installed.js';
import { compile } from './compile.js';
import { agrees, allExamples, type Example } from './examples.js';
import { inTurn, runNode } from './run.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const main = join(root, 'dist/lib/command/main.js');

/** Within the package, whose own name leads to it from there. */
const folder = t.testdir({ sources: {}, run: {} });
const examples = allExamples(root);
const sourceOf = (index: number): string =>
  join(folder, 'sources', `example-${index}.${examples[index]?.language === 'js' ? 'mjs' : 'mts'}`);

/** For `node app.js` in an example. */
const app = examples.find(({ name }) => name.startsWith('README.md'))!;
writeFileSync(join(folder, 'run', 'app.js'), app.text);

examples.forEach((example, index) => {
  const given = example.given === undefined ? '' : `${example.given.trim()}\n`;
  writeFileSync(sourceOf(index), `${given}${example.text}\nexport {};\n`);
});
const complaints = compile(
  examples.map((_, index) => sourceOf(index)),
  join(folder, 'sources'),
  join(folder, 'run'),
);

const needsUml = ({ text }: Example): boolean => /viaduct\/(vm|cluster)'/.test(text);
const isRun = (example: Example): boolean =>
  example.given === undefined && !(needsUml(example) && withoutUml !== false);

const outcomes = inTurn([...examples.keys()], 2, async (index) => {
  const example = examples[index]!;
  if (!isRun(example)) return undefined;
  const program = join(folder, 'run', `example-${index}.mjs`);
  // JavaScript runs as it is written, not as a compiler makes it.
  if (example.language === 'js') writeFileSync(program, example.text);
  const launch =
    example.ranks === undefined ? [] : [main, 'run', '-n', String(example.ranks), '--', 'node'];
  return runNode([...launch, program], join(folder, 'run'));
});

/** Lines of ranks come in any order. */
const inOrder = (lines: readonly string[], ranks: number | undefined): readonly string[] =>
  ranks === undefined ? lines : [...lines].sort();

examples.forEach((example, index) => {
  t.test(example.name, async (t) => {
    t.strictSame(complaints.get(sourceOf(index)), [], 'compiles');
    if (example.given !== undefined) return;
    if (!isRun(example)) {
      await t.test('runs', { skip: withoutUml }, async () => {});
      return;
    }
    const outcome = await outcomes[index]!;
    const { stdout = '', ...end } = outcome ?? {};
    t.strictSame(end, { stderr: '', status: 0, signal: null });
    const lines = inOrder(stdout.split('\n').slice(0, -1), example.ranks);
    const expected = inOrder(example.prints, example.ranks);
    const agree =
      lines.length === expected.length && lines.every((line, at) => agrees(line, expected[at]!));
    if (agree) t.pass('prints what it says');
    else t.strictSame(lines, expected);
  });
});
