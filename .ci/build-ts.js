// Compiles lib, bench and test into dist by tsc, and bundles lib, unless nothing changed since it last did.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { BUNDLE, bundle, isBundled } from './bundle.js';

const sources = ['lib', 'bench', 'test'].flatMap((folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);

/** Removes what was compiled from sources that are gone, lest deleted tests still run. */
function prune() {
  for (const name of existsSync('dist') ? readdirSync('dist', { recursive: true }) : []) {
    if (join('dist', name).startsWith(`${BUNDLE}/`)) continue;
    const stem = /^(.*?)(\.js|\.js\.map|\.d\.ts)$/.exec(name)?.[1];
    if (stem !== undefined && !existsSync(`${stem}.ts`)) rmSync(join('dist', name));
  }
}

function hashOfInputs() {
  const hash = createHash('sha256');
  const settings = ['tsconfig.json', 'package.json', 'package-lock.json', '.ci/bundle.js'];
  for (const path of [...settings, ...sources.sort()]) hash.update(path).update(readFileSync(path));
  return hash.digest('hex');
}

const record = 'dist/.compiled';
const compiledAll = () =>
  sources.every(
    (path) => path.endsWith('.d.ts') || existsSync(join('dist', path.replace(/ts$/, 'js'))),
  );

prune();
const hash = hashOfInputs();
if (
  !existsSync(record) ||
  readFileSync(record, 'utf8') !== hash ||
  !compiledAll() ||
  !isBundled()
) {
  // tsc compiles nothing whose source did not change, even if what it compiled is gone.
  if (!compiledAll()) rmSync('dist/.tsbuildinfo', { force: true });
  const { status, error } = spawnSync('node_modules/.bin/tsc', ['-p', '.'], { stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status === 0) {
    await bundle();
    writeFileSync(record, hash);
  }
  process.exitCode = status ?? 1;
}
