// Runs clang-tidy on each C++ file whose text, headers or checks changed since it was last clean.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { installedHeaders } from './node-headers.js';

/** Of this Node.js: those installed with it, else those that node-gyp downloaded. */
function nodeHeaders() {
  const prefixes = [
    installedHeaders(),
    join(homedir(), '.cache', 'node-gyp', process.versions.node),
  ];
  const prefix = prefixes.find((path) => path !== undefined && existsSync(join(path, 'include')));
  if (prefix === undefined) {
    throw new Error('the headers of Node.js were not found; run: npm run setup');
  }
  return join(prefix, 'include', 'node');
}

const { include_dir: addonApiHeaders } = createRequire(import.meta.url)('node-addon-api');
// As in binding.gyp; the headers of others are not ours to correct.
const flags = [
  '-std=c++20',
  '-fno-rtti',
  '-Wall',
  '-Wextra',
  '-Inative',
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
  `-isystem${nodeHeaders()}`,
  `-isystem${addonApiHeaders}`,
];

/** The file and those of native/ that it includes, directly or not. */
function closure(path, seen = new Set()) {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const [, name] of readFileSync(path, 'utf8').matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
    const included = [join(dirname(path), name), join('native', name)].find(existsSync);
    if (included !== undefined) closure(included, seen);
  }
  return seen;
}

const version = execFileSync('clang-tidy', ['--version']);
const records = join('build', 'clang-tidy');
mkdirSync(records, { recursive: true });

/** Where it is recorded that this text, with these headers and checks, is clean. */
function recordOf(path) {
  const hash = createHash('sha256').update(version).update(JSON.stringify(flags));
  for (const part of ['.clang-tidy', ...closure(path)])
    hash.update(part).update(readFileSync(part));
  return join(records, hash.digest('hex'));
}

/** Not free of findings yet (names in its C interface, loops), and five minutes of work for the linter. */
const notYet = /^softhca\/(?!wire\/|transport\/|links\/)/;

const pending = readdirSync('native', { recursive: true })
  .filter((name) => name.endsWith('.cc') && !notYet.test(name))
  .map((name) => join('native', name))
  .sort()
  .filter((path) => !existsSync(recordOf(path)));
const total = pending.length;
let failed = 0;

async function worker() {
  for (let path = pending.shift(); path !== undefined; path = pending.shift()) {
    const child = spawn('clang-tidy', ['--quiet', path, '--', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    const status = await new Promise((done, fail) => child.on('error', fail).on('close', done));
    if (status === 0) {
      writeFileSync(recordOf(path), '');
    } else {
      failed += 1;
      console.error(`${path}:\n${Buffer.concat(output).toString()}`);
    }
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, worker));
console.log(`${total} C++ files looked at, ${failed} with findings`);
process.exitCode = failed === 0 ? 0 : 1;
