import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import type { Measurement } from '../../bench/measurement.js';

const program = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function bench(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { env }, (_, stdout, stderr) => {
      resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

/** The processes that a process has started, and those that they have started. */
async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const children = text.split(' ').filter(Boolean).map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

let folder = '';
t.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'viaduct-bench-test-'));
});
t.teardown(() => rm(folder, { recursive: true, force: true }));
t.setTimeout(180_000);

/** Runs two sizes everywhere that `where` names and returns the rows of the JSON file. */
async function measure(where: string, ...more: string[]): Promise<[Ended, Measurement[]]> {
  const json = join(folder, `${where}.json`);
  const ended = await bench([
    ...['latency', 'bandwidth', '--where', where, '--sizes', '8,4096'],
    ...['--rounds', '1', '--samples', '2', '--json', json, ...more],
  ]);
  return [ended, JSON.parse(await readFile(json, 'utf8')) as Measurement[]];
}

t.test('wrong usage: a sentence, the way to the help, and exit status 2', async (t) => {
  for (const args of [['--frobnicate'], ['speed'], ['latency', '--where', 'cloud']]) {
    const { status, stdout, stderr } = await bench(args);
    t.equal(status, 2, args.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^bench: .*\nTry: npm run -s bench -- --help\n$/);
  }
});

for (const name of ['verbs', 'regcache', 'rxe', 'startup', 'vm', 'wire']) {
  t.test(`${name}: wrong usage ends with exit status 2, before anything is measured`, async (t) => {
    for (const args of [['--frobnicate'], ['--rounds', '0']]) {
      const { status, stdout, stderr } = await bench([name, ...args]);
      t.equal(status, 2, args.join(' '));
      t.equal(stdout, '');
      t.match(stderr, /^bench: .*\nTry: npm run -s bench -- --help\n$/);
    }
  });
}

t.test('help goes to stdout with exit status 0', async (t) => {
  const { status, stdout, stderr } = await bench(['--help']);
  t.equal(status, 0);
  t.match(stdout, 'Usage: npm run -s bench --');
  t.equal(stderr, '');
});

t.test('a JSON file that cannot be written is told before anything is measured', async (t) => {
  const { status, stderr } = await bench(['latency', '--json', join(folder, 'none', 'x.json')]);
  t.equal(status, 1);
  t.match(stderr, 'ENOENT');
  t.notMatch(stderr, 'round');
});

for (const [where, places] of [
  ['native,tcp', ['native', 'tcp']],
  ['vm,vm-tcp', ['vm', 'vm-tcp']],
] as const) {
  t.test(`${where}: two sizes are measured, printed and written`, async (t) => {
    const [{ status, stdout, stderr }, rows] = await measure(where);
    t.equal(status, 0, stderr);
    t.match(stdout, 'Latency, one way, µs (median)');
    t.match(stdout, 'Bandwidth, MB/s (median)');
    t.match(stderr, 'round 1 of 1');
    t.same(
      rows.map((row) => `${row.benchmark} ${row.where} ${row.sizeBytes} ${row.unit}`).sort(),
      places
        .flatMap((place) => [8, 4096].map((size) => [place, size] as const))
        .flatMap(([place, size]) => [
          `bandwidth ${place} ${size} MB/s`,
          `latency ${place} ${size} us`,
        ])
        .sort(),
    );
    for (const row of rows) {
      t.equal(row.samples.length, 2);
      t.ok(row.min > 0 && row.min <= row.median && row.median <= row.max);
      t.match(row.peer, row.where.endsWith('tcp') ? /^Node\.js net \d/ : /^viaduct \d/);
    }
  });
}

t.test('SIGTERM ends the benchmark and its ranks, with status 143', async (t) => {
  const child = execFile(process.execPath, [program, 'latency', '--where', 'native']);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const measuring = new Promise<void>((resolve) => {
    let said = '';
    child.stderr?.on('data', (text: string) => {
      said += text;
      if (said.includes('processes: latency')) resolve();
    });
  });
  await Promise.race([measuring, ended]);
  const started = await descendants(child.pid ?? 0);
  t.ok(started.length >= 2, 'the ranks run');
  child.kill('SIGTERM');
  t.equal(await ended, 143);
  t.same(started.filter(isAlive), []);
});

t.test('the report folder holds the figures, the machine and one HTML page', async (t) => {
  const report = join(folder, 'report');
  const [{ status, stderr }] = await measure('native', '--report', report);
  t.equal(status, 0, stderr);
  const read = (name: string): Promise<string> => readFile(join(report, name), 'utf8');
  t.equal((JSON.parse(await read('latency.json')) as Measurement[]).length, 2);
  t.equal((JSON.parse(await read('bandwidth.json')) as Measurement[]).length, 2);
  t.match(JSON.parse(await read('machine.json')), { cores: Number, versions: { viaduct: String } });
  t.match(await read('report.html'), /^<!doctype html>/);
});

t.test(
  'a peer that is not installed is named with its packages, and the run goes on',
  async (t) => {
    const { status, stdout, stderr } = await bench(
      [
        'latency',
        '--where',
        'native',
        '--sizes',
        '8',
        '--rounds',
        '1',
        '--samples',
        '1',
        '--peers',
      ],
      { ...process.env, PATH: folder },
    );
    t.equal(status, 0, stderr);
    t.match(stderr, 'MPICH is not measured');
    t.match(stderr, 'apt-get install mpich libmpich-dev');
    t.match(stderr, 'Open MPI is not measured');
    t.match(stdout, 'Latency');
  },
);

t.test('installed peers are measured in the same run, and compared', async (t) => {
  const [{ status, stdout, stderr }, rows] = await measure('native', '--peers');
  const installed = ['MPICH', 'Open MPI'].filter(
    (name) => !stderr.includes(`${name} is not measured`),
  );
  if (installed.length === 0)
    t.comment('neither MPICH nor Open MPI is installed: nothing to compare');
  t.equal(status, 0, stderr);
  t.equal(rows.length, 4 * (1 + installed.length));
  for (const name of installed) t.match(stdout, `native/${name}`);
});
