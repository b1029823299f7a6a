/** Every example in the docstrings and in the README compiles, runs, and prints what it says. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { withoutUml } from '../uml-installed.js';
import { compile } from './compile.js';
import { agrees, allExamples, type Example, examplesIn } from './examples.js';
import { inTurn, runNode } from './run.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const viaduct = join(root, 'dist/lib/command/main.js');

// Machines with names are found in the temporary folder then, which is this test's own.
delete process.env['XDG_RUNTIME_DIR'];

/** Within the package, whose own name leads to it from there. */
const folder = t.testdir({ sources: {}, run: {} });
const examples = allExamples(root);

const isWhole = ({ given }: Example): boolean => given === undefined;
const needsUml = ({ text }: Example): boolean => /viaduct\/(vm|cluster)'/.test(text);
const nameOf = (index: number, ending: string): string => `example-${index}.${ending}`;

// Some examples run `node app.js`: the README's first.
const app = examples.find(({ file }) => file === 'README.md');
writeFileSync(join(folder, 'run', 'app.js'), app?.text ?? '');

const sources = examples.map((example, index) => {
  const isJs = example.language === 'js' && isWhole(example);
  const path = join(folder, 'sources', nameOf(index, isJs ? 'mjs' : 'mts'));
  const given = isWhole(example) ? '' : `${example.given}\n`;
  writeFileSync(path, `${given}${example.text}\nexport {};\n`);
  return path;
});
const complaints = compile(sources, join(folder, 'sources'), join(folder, 'run'));

const outcomes = inTurn([...examples.entries()], 2, async ([index, example]) => {
  if (!isWhole(example) || (needsUml(example) && withoutUml !== false)) return undefined;
  const program = join(folder, 'run', nameOf(index, 'mjs'));
  // JavaScript runs as it is written, not as a compiler makes it.
  if (example.language === 'js') writeFileSync(program, example.text);
  const { ranks } = example;
  const launch = ranks === undefined ? [] : [viaduct, 'run', '-n', String(ranks), '--', 'node'];
  return runNode([...launch, program], join(folder, 'run'));
});

/** Lines of ranks come in any order. */
const inOrder = (lines: readonly string[], { prints }: Example): readonly string[] =>
  prints.every((line) => /^\[\d+\] /.test(line)) ? [...lines].sort() : lines;

examples.forEach((example, index) => {
  t.test(`the example at ${example.file}:${example.line}`, async (t) => {
    const shift = example.line - (example.given?.split('\n').length ?? 0);
    const said = complaints.get(sources[index] ?? '');
    const places = said?.map(({ line, text }) => `${example.file}:${line + shift}: ${text}`);
    t.strictSame(places, [], 'compiles');
    if (!isWhole(example)) return;
    const outcome = await outcomes[index];
    if (outcome === undefined) {
      await t.test('runs', { skip: withoutUml }, async () => {});
      return;
    }
    const { stdout, ...end } = outcome;
    t.strictSame(end, { stderr: '', status: 0, signal: null }, 'runs');
    const lines = inOrder(stdout.split('\n').slice(0, -1), example);
    const expected = inOrder(example.prints, example);
    const asSaid =
      lines.length === expected.length &&
      lines.every((line, at) => agrees(line, expected[at] ?? ''));
    if (asSaid) t.pass('prints what it says');
    else t.strictSame(lines, expected, 'prints what it says');
  });
});

t.test('every public class shows an example', async (t) => {
  const { exports: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { default?: string }>;
  };
  const withExample = new Set(
    examples.map(({ file, text, line }) => classAfter(file, line + text.split('\n').length)),
  );
  const without = new Set<string>();
  for (const { default: entry } of Object.values(entries)) {
    if (entry === undefined) continue;
    const module = (await import(join(root, entry))) as Record<string, unknown>;
    for (const [name, value] of Object.entries(module)) {
      if (typeof value !== 'function' || !/^class\b/.test(String(value))) continue;
      // Errors are made by the library alone.
      if (value.prototype instanceof Error) continue;
      if (!withExample.has(name)) without.add(name);
    }
  }
  t.strictSame([...without], []);
});

/** The class that a docstring is about, which ends at or after this line. */
function classAfter(file: string, line: number): string | undefined {
  const rest = readFileSync(join(root, file), 'utf8').split('\n').slice(line).join('\n');
  return /^ \*\/\nexport class (\w+)/m.exec(rest.slice(0, rest.indexOf('{')))?.[1];
}

t.test('fences are found with what stands beside them', async (t) => {
  const text = [
    'Text.',
    '',
    '<!-- given:',
    'declare const x: number;',
    '-->',
    '',
    '```js',
    'x;',
    '```',
    '',
    '```sh',
    'not this',
    '```',
    '',
    '```ts',
    '// viaduct run -n 3 -- node app.js',
    'console.log(1); // prints 1',
    '// prints 2 …',
    '```',
  ].join('\n');
  t.strictSame(examplesIn('FILE', text), [
    {
      file: 'FILE',
      line: 7,
      language: 'js',
      text: 'x;\n',
      given: 'declare const x: number;',
      ranks: undefined,
      prints: [],
    },
    {
      file: 'FILE',
      line: 15,
      language: 'ts',
      text: '// viaduct run -n 3 -- node app.js\nconsole.log(1); // prints 1\n// prints 2 …\n',
      given: undefined,
      ranks: 3,
      prints: ['1', '2 …'],
    },
  ]);
});

t.test('a line agrees with what is said of it as a whole, and … is anything', async (t) => {
  t.ok(agrees('42', '42'));
  t.notOk(agrees('421', '42'));
  t.notOk(agrees('a+b', 'a.b'));
  t.ok(agrees('queue pair 17 failed', 'queue pair … failed'));
  t.notOk(agrees('queue pair 17 ended', 'queue pair … failed'));
});
