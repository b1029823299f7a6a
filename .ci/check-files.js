// Fails on files that are too long, that do not say what they are for, or that name a machine.
import { existsSync, readFileSync } from 'node:fs';

import { projectFiles } from './repository.js';

const longestLines = 500;
const source = /^(lib|native|bench|test|\.ci)\//;
const binary = /\.(pcap|png|jpg|gz|zst|xz|woff2?)$/;

/** Longer files, each with the reason why it is not split. */
const longFiles = JSON.parse(readFileSync('.ci/long-files.json', 'utf8'));

/** What holds on one machine only. The brackets keep these lines from finding themselves. */
const machineBound = [
  [/(?<![\w.$}-])\/(work|root|home)[/]\w/, 'a path of one machine'],
  [/\bregistry[.][\w-]+[.][a-z]{2,}/, 'the host of a package registry'],
  [/"resolved[":]+ "http/, 'the host of a package registry'],
];

function problems(path) {
  if (binary.test(path)) return [];
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n');
  const found = [];

  const count = text.endsWith('\n') ? lines.length - 1 : lines.length;
  if (source.test(path) && count > longestLines && longFiles[path] === undefined) {
    found.push(
      `${path}: ${count} lines, more than ${longestLines}; ` +
        'split it by idea, or name it with a reason in .ci/long-files.json',
    );
  }
  if (count <= longestLines && longFiles[path] !== undefined) {
    found.push(`.ci/long-files.json: ${path} is not long any more; remove it`);
  }

  if (/^(lib|bench|native)\/.*\.(ts|cc|c|h)$/.test(path) && !path.endsWith('/index.ts')) {
    // A header speaks for the file that implements it.
    const hasHeader = /\.cc?$/.test(path) && existsSync(path.replace(/\.cc?$/, '.h'));
    const first = lines[0].startsWith('#!') ? lines[1] : lines[0];
    if (!hasHeader && !/^\s*\/[/*]/.test(first ?? '')) {
      found.push(`${path}: does not begin with a comment that says what it is for`);
    }
  }

  for (const [index, line] of lines.entries()) {
    for (const [pattern, what] of machineBound) {
      if (pattern.test(line)) found.push(`${path}:${index + 1}: names ${what}: ${line.trim()}`);
    }
  }
  return found;
}

const files = projectFiles();
const found = files.flatMap(problems);
for (const path of Object.keys(longFiles)) {
  if (!existsSync(path)) found.push(`.ci/long-files.json: there is no ${path}; remove it`);
}
for (const line of found) console.error(line);
console.log(`${files.length} files, ${found.length} problems`);
process.exitCode = found.length === 0 ? 0 : 1;
