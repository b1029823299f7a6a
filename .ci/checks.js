// The checks of `npm run check`, by name, and how they are run.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { projectFiles } from './repository.js';

const bin = (name) => `node_modules/.bin/${name}`;

const firstLine = (path) => readFileSync(path, 'utf8').split('\n', 1)[0];

function checks() {
  const files = projectFiles();
  const cpp = files.filter((path) => /^(native|bench)\/.*\.(cc|h)$/.test(path));
  const c = files.filter((path) => /^(native|bench|test)\/.*\.c$/.test(path));
  const shell = files.filter((path) => /^#!.*\b(ba)?sh$/m.test(firstLine(path)));
  return [
    ['prettier', [bin('prettier'), '--check', '--log-level=warn', '.']],
    ['tsc', [bin('tsc'), '-p', '.', '--noEmit', '--incremental', 'false']],
    ['eslint', [bin('eslint'), '--max-warnings=0', '.']],
    ['native-layers', ['node', '.ci/check-native-layers.js']],
    ['clang-format', ['clang-format', '--dry-run', '-Werror', ...cpp, ...c]],
    ['clang-tidy', ['node', '.ci/clang-tidy.js']],
    ['shellcheck', ['shellcheck', ...shell]],
    ['files', ['node', '.ci/check-files.js']],
    ['docs', [bin('typedoc'), '--emit', 'none', '--logLevel', 'Warn']],
  ];
}

function run([command, ...args]) {
  const { promise, resolve } = withResolvers();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = [];
  child.stdout.on('data', (chunk) => output.push(chunk));
  child.stderr.on('data', (chunk) => output.push(chunk));
  child.on('error', (error) =>
    resolve({
      passed: false,
      output: `${command} could not be run (${error.message}); run: npm run setup\n`,
    }),
  );
  child.on('close', (status) =>
    resolve({ passed: status === 0, output: Buffer.concat(output).toString() }),
  );
  return promise;
}

function withResolvers() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

/**
 * Runs the checks named, or all, prints one line for each and the output of those that failed.
 *
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function runChecks(names = []) {
  const all = checks();
  const unknown = names.filter((name) => !all.some(([known]) => known === name));
  if (unknown.length > 0) {
    const known = all.map(([name]) => name).join(', ');
    throw new Error(`no check is named ${unknown.join(', ')}; there are: ${known}`);
  }
  const counts = { passed: 0, failed: 0 };
  for (const [name, command] of all) {
    if (names.length > 0 && !names.includes(name)) continue;
    const started = Date.now();
    const { passed, output } = await run(command);
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(`${passed ? 'ok' : 'not ok'}  check ${name}  (${seconds} s)`);
    if (!passed) process.stdout.write(output);
    counts[passed ? 'passed' : 'failed'] += 1;
  }
  return counts;
}

if (process.argv[1] === import.meta.filename) {
  const { failed } = await runChecks(process.argv.slice(2));
  process.exitCode = failed === 0 ? 0 : 1;
}
