/** rdma-core's own Python tests over the software HCA: where they are, and how one run of them ends. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

import { packageRoot } from '../../lib/addon/index.js';

const command = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));
const folder = join(packageRoot, 'test', 'pyverbs');
/** Debian's, because its package of pyverbs is for it. */
const python = '/usr/bin/python3';
/** Tests of other hardware and of the connection manager, which has a library of its own. */
const others = /^test_(mlx5|efa|cuda|rdmacm)/;
/** A run takes two seconds on two idle cores. */
const limitMs = 100_000;

export interface Mode {
  readonly linkLayer: 'infiniband' | 'ethernet';
  readonly remap: boolean;
}

export interface Outcome {
  /** Without the package's name, as in `test_mr.MRTest.test_lkey`. */
  readonly test: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped, or the traceback of its failure. */
  readonly text: string;
}

/** Why the tests can't run here, with the remedy; or undefined. */
export function missing(): string | undefined {
  if (spawnSync(python, ['-c', 'import pyverbs.device']).status !== 0) {
    return 'pyverbs is not installed: apt-get install python3-pyverbs';
  }
  if (testFiles().length > 0) return undefined;
  return (
    'the tests of python3-pyverbs are documentation, which this system does not install: apt-get install --reinstall ' +
    "-o Dpkg::Options::='--path-include=/usr/share/doc/rdma-core/*' python3-pyverbs"
  );
}

/** The files of the tests' folder, wherever the package has it. */
function testFiles(): string[] {
  const listed = spawnSync('dpkg', ['--listfiles', 'python3-pyverbs'], { encoding: 'utf8' });
  return (listed.stdout ?? '')
    .split('\n')
    .filter((path) => /\/doc\/.*\/tests\/[^/]+\.py(\.gz)?$/.test(path) && existsSync(path));
}

/** Runs all tests once, in a temporary folder that is removed. */
export async function runSuite(mode: Mode): Promise<Outcome[]> {
  const temporary = mkdtempSync(join(tmpdir(), 'viaduct-pyverbs-'));
  try {
    await mkdir(join(temporary, 'tests'));
    for (const path of testFiles()) {
      const name = basename(path, '.gz');
      if (others.test(name)) continue;
      const bytes = readFileSync(path);
      const plain = path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
      writeFileSync(join(temporary, 'tests', name), plain);
    }
    const options = mode.remap ? ['exec', '--remap'] : ['exec'];
    if (mode.linkLayer === 'ethernet') options.push('--roce');
    const results = join(temporary, 'results');
    const words = [...options, '--', python, join(folder, 'run.py'), temporary, results];
    const child = spawn(process.execPath, [command, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    });
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
    const lines = existsSync(results) ? readFileSync(results, 'utf8').split('\n').slice(0, -1) : [];
    const outcomes = lines.map((line) => JSON.parse(line) as Outcome);
    if (status !== 0) {
      const last = outcomes.at(-1)?.test ?? 'none';
      throw new Error(
        `the tests ended by ${signal ?? `status ${status}`}, the last that finished was ${last}:\n` +
          (await said).join(''),
      );
    }
    return outcomes.map((one) => ({ ...one, test: one.test.replace(/^tests\./, '') }));
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

/** The tests that are skipped over kernel Soft-RoCE of Linux 6.1, too; the file says how that is known. */
export function skippedOnRxe(): Set<string> {
  const data = JSON.parse(readFileSync(join(folder, 'skipped-on-rxe.json'), 'utf8')) as {
    skipped: Record<string, string[]>;
  };
  return new Set(Object.values(data.skipped).flat());
}

/**
 * The tests that no run carried out, each with its reason. A port is of InfiniBand or of Ethernet, and some
 * tests are for one of them alone: so a test counts as skipped that was skipped on both.
 */
export function skippedInAll(runs: readonly (readonly Outcome[])[]): Map<string, string> {
  const skipped = new Map<string, string>();
  for (const { test, outcome, text } of runs.flat()) {
    if (outcome === 'skipped') skipped.set(test, text);
  }
  for (const { test, outcome } of runs.flat()) {
    if (outcome !== 'skipped') skipped.delete(test);
  }
  return skipped;
}
