/**
 * The examples in docstrings of lib and in README.md, as programs.
 *
 * An example is a fence of `js` or `ts`. It is a whole program, which is run, unless a comment
 * `<!-- given: … -->` stands before it: that holds the TypeScript that a fragment takes for granted, and the two are
 * only compiled. So is an example that wants hardware, which a comment there names. In an example
 *
 * - a first line with `viaduct run -n N` says that it is run so, else it is run by node;
 * - a comment `// prints TEXT` is a line of its output, in order, but where all begin with a rank's number, whose order
 *   is the ranks' own; `…` in it stands for anything. It prints nothing else.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Example {
  readonly file: string;
  /** The line of its fence; the first of a file is 1. */
  readonly line: number;
  readonly language: 'js' | 'ts';
  readonly text: string;
  /** Undefined for a whole program. */
  readonly given: string | undefined;
  /** How many ranks run it; undefined for one that is no rank of a job. */
  readonly ranks: number | undefined;
  readonly prints: readonly string[];
}

const EXAMPLE = /(?:^<!-- given:((?:(?!-->)[^])*)-->\n\n)?^```(js|ts)\n([^]*?)^```$/gm;

export function examplesIn(file: string, text: string): Example[] {
  return [...text.matchAll(EXAMPLE)].map((match) => {
    const [whole, given, language, code = ''] = match;
    const fence = match.index + whole.indexOf('```');
    const ranks = /^\/\/.*viaduct run -n (\d+)/.exec(code)?.[1];
    return {
      file,
      line: text.slice(0, fence).split('\n').length,
      language: language as 'js' | 'ts',
      text: code,
      given: given?.trim(),
      ranks: ranks === undefined ? undefined : Number(ranks),
      prints: [...code.matchAll(/\/\/ prints (.*)$/gm)].map(([, line = '']) => line),
    };
  });
}

/** Comments as the text in them, with every line where it was. */
function withoutStars(source: string): string {
  return source.replaceAll(/^ *\* ?/gm, '');
}

/** All examples of a package's root folder. */
export function allExamples(root: string): Example[] {
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => join('lib', name));
  return [
    ...sources.flatMap((file) =>
      examplesIn(file, withoutStars(readFileSync(join(root, file), 'utf8'))),
    ),
    ...examplesIn('README.md', readFileSync(join(root, 'README.md'), 'utf8')),
  ];
}

/** Whether a line of output is what an example says; `…` stands for anything. */
export function agrees(line: string, expected: string): boolean {
  const parts = expected.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(line);
}
