// Runs clang-tidy on each C++ file whose text, headers or checks changed since it was last clean.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';

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
  `-isystem${nodeHeaders()}`,
  `-isystem${addonApiHeaders}`,
];

const all = readdirSync('native', { recursive: true })
  .filter((name) => /\.(cc|h)$/.test(name))
  .sort()
  .map((name) => join('native', name));

/** What the outcome depends on besides the file itself. */
function hashOfSurroundings() {
  const hash = createHash('sha256');
  hash.update(execFileSync('clang-tidy', ['--version']));
  hash.update(JSON.stringify(flags));
  hash.update(readFileSync('.clang-tidy'));
  for (const path of all.filter((name) => name.endsWith('.h'))) {
    hash.update(path).update(readFileSync(path));
  }
  return hash.digest('hex');
}

const surroundings = hashOfSurroundings();
const records = join('build', 'clang-tidy');
mkdirSync(records, { recursive: true });

function recordOf(path) {
  const hash = createHash('sha256').update(surroundings).update(path).update(readFileSync(path));
  return join(records, hash.digest('hex'));
}

const pending = all.filter((path) => path.endsWith('.cc') && !existsSync(recordOf(path)));
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
