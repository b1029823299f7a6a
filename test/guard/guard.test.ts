/** The guard: a program behind it behaves as without it, and dies with whoever started it. */
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { builtExecutable } from '../../lib/addon/index.js';
import { survivors, treeOf, type KnownProcess } from '../process-tree.js';

t.setTimeout(120_000);

const guard = builtExecutable('viaduct-guard');
const ownerProgram = fileURLToPath(new URL('programs/owner.js', import.meta.url));

function run(...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(guard, args, { encoding: 'utf8' });
}

/** All that runs below a guard, once `count` processes do. */
async function treeOfAtLeast(pid: number, count: number): Promise<KnownProcess[]> {
  for (;;) {
    const tree = treeOf(pid);
    if (tree.length >= count) return tree;
    await sleep(10);
  }
}

function isThere(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

const ways = [
  { name: 'in place', options: [] },
  { name: 'with --kill-tree', options: ['--kill-tree'] },
  { name: 'with --same-namespace', options: ['--same-namespace'] },
];

for (const { name, options } of ways) {
  t.test(`${name}, status and output are the program's`, async (t) => {
    const result = run(...options, '--', 'sh', '-c', 'echo out; echo err >&2; exit 9');
    t.match(result, { status: 9, signal: null, stdout: 'out\n', stderr: 'err\n' });
  });

  t.test(`${name}, the guard dies of the program's signal`, async (t) => {
    t.match(run(...options, '--', 'sh', '-c', 'kill -USR1 $$'), {
      status: null,
      signal: 'SIGUSR1',
    });
    t.match(run(...options, '--', 'sh', '-c', 'kill -KILL $$'), {
      status: null,
      signal: 'SIGKILL',
    });
  });

  t.test(`${name}, input reaches the program`, async (t) => {
    const { stdout } = spawnSync(guard, [...options, '--', 'cat'], {
      input: 'abc',
      encoding: 'utf8',
    });
    t.equal(stdout, 'abc');
  });

  t.test(`${name}, signals reach the program`, async (t) => {
    const script = 'trap "exit 6" TERM; echo up; while :; do sleep 0.05; done';
    const child = spawn(guard, [...options, '--', 'sh', '-c', script]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    t.equal(await new Promise((resolve) => child.once('exit', resolve)), 6);
  });

  t.test(`${name}, --cpu gives the program that processor`, async (t) => {
    const { stdout } = run('--cpu', '0', ...options, '--', 'cat', '/proc/self/status');
    t.match(stdout, /^Cpus_allowed_list:\t0$/m);
  });

  t.test(`${name}, a program that is not there is said to be so`, async (t) => {
    const result = run(...options, '--', '/no/such/program');
    t.match(result, { status: 127, stderr: /\/no\/such\/program: No such file or directory/ });
    t.match(run(...options, '--', '/etc/passwd'), { status: 126, stderr: /Permission denied/ });
  });

  t.test(`${name}, the program dies when its starter is killed`, async (t) => {
    const [owner, pid] = await startOwner(t, [...options, '--', 'sleep', '1000']);
    const tree = treeOf(pid);
    process.kill(owner, 'SIGKILL');
    t.same(await survivors(tree), []);
  });

  t.test(`${name}, the wrong parent is refused`, async (t) => {
    const result = run('--parent', '1', ...options, '--', 'echo', 'ran');
    t.match(result, { status: 125, stdout: '', stderr: /is gone/ });
  });
}

t.test('in place, no process stays between', async (t) => {
  const child = spawn(guard, ['--', 'sleep', '1000']);
  const [only, ...others] = await treeOfAtLeast(child.pid!, 1);
  t.same([only?.pid, others], [child.pid, []]);
  child.kill('SIGKILL');
});

/** Of the processes of `guard -- sh -c 'sleep & sleep'`: guard, keeper, shell. */
const victims = [
  ['the starter', -1],
  ['the guard', 0],
  ['its keeper', 1],
  ['the program', 2],
] as const;

for (const option of ['--kill-tree', '--same-namespace']) {
  for (const [who, index] of victims) {
    t.test(
      `with ${option}, SIGKILL of ${who} ends the whole tree and removes its directories`,
      async (t) => {
        const directory = t.testdir({ removed: { a: { b: 'x' } }, kept: {} });
        const [owner, pid] = await startOwner(t, [
          option,
          '--remove',
          `${directory}/removed`,
          '--scratch',
          `${directory}/scratch`,
          '--',
          'sh',
          '-c',
          'setsid sleep 1000 & sleep 1000; true',
        ]);
        const tree = await treeOfAtLeast(pid, 5);
        t.ok(existsSync(`${directory}/scratch`));
        writeFileSync(`${directory}/scratch/file`, 'x');
        process.kill(index < 0 ? owner : tree[index].pid, 'SIGKILL');
        t.same(await survivors(tree), []);
        for (let rounds = 0; rounds < 200 && readdirSync(directory).length > 1; rounds += 1) {
          await sleep(50);
        }
        t.same(readdirSync(directory), ['kept']);
      },
    );
  }
}

t.test('signal 40 ends all at once', async (t) => {
  const child = spawn(guard, ['--kill-tree', '--', 'sh', '-c', 'trap "" TERM; sleep 1000; true']);
  const tree = await treeOfAtLeast(child.pid!, 4);
  process.kill(child.pid!, 40);
  t.equal(
    await new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal))),
    'SIGKILL',
  );
  t.same(await survivors(tree), []);
});

t.test('what a program leaves behind ends with it', async (t) => {
  for (const option of ['--kill-tree', '--same-namespace']) {
    // The number in the other namespace is of no use here, but the output ends only with its writer.
    const { stdout } = run(option, '--', 'sh', '-c', 'setsid sleep 1000 & echo done');
    t.equal(stdout, 'done\n');
  }
});

t.test('a scratch directory that exists is not taken', async (t) => {
  const directory = t.testdir({ taken: { file: 'x' } });
  const result = run('--scratch', `${directory}/taken`, '--', 'true');
  t.match(result, { status: 125, stderr: /--scratch .*taken: File exists/ });
  t.ok(existsSync(`${directory}/taken/file`), 'and not removed');
});

t.test(
  'with --outlive a program lives on without its starter, and dies with the guard',
  async (t) => {
    const directory = t.testdir({});
    const [owner, pid] = await startOwner(t, [
      ...['--outlive', '--same-namespace', '--claim', `${directory}/mine`, '--', 'sh', '-c'],
      'while sleep 0.05; do echo alive >> "$0"; done',
      `${directory}/mine/log`,
    ]);
    const tree = await treeOfAtLeast(pid, 3);
    t.teardown(() =>
      tree.forEach((each) => isThere(each.pid) && process.kill(each.pid, 'SIGKILL')),
    );
    process.kill(owner, 'SIGKILL');
    while (isThere(owner)) await sleep(10);
    const log = `${directory}/mine/log`;
    const length = (): number => (existsSync(log) ? readFileSync(log, 'utf8').length : 0);
    const before = length();
    while (length() === before) await sleep(10);
    process.kill(pid, 'SIGKILL');
    t.same(await survivors(tree), []);
    while (existsSync(`${directory}/mine`)) await sleep(10);
    t.pass('and the directory is removed');
  },
);

t.test('of two guards one claims a directory, and the other removes nothing', async (t) => {
  const directory = t.testdir({});
  const claim = ['--claim', `${directory}/one`, '--', 'sh', '-c'];
  const winner = spawn(guard, [...claim, 'echo mine; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => winner.kill('SIGKILL'));
  await new Promise((resolve) => winner.stdout.once('data', resolve));
  t.match(run(...claim, 'echo mine'), { status: 125, stdout: '', stderr: /one: File exists/ });
  t.ok(existsSync(`${directory}/one`));
  winner.stdin.end();
  await new Promise((resolve) => winner.once('close', resolve));
  t.notOk(existsSync(`${directory}/one`));
});

t.test('wrong usage is said with the usage', async (t) => {
  for (const args of [[], ['true'], ['--fast', '--', 'true'], ['--cpu', 'x', '--', 'true']]) {
    t.match(run(...args), { status: 125, stderr: /usage: viaduct-guard/ });
  }
});

async function startOwner(
  t: Test,
  args: readonly string[],
): Promise<[owner: number, guard: number]> {
  const owner = spawn(process.execPath, [ownerProgram, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => owner.kill('SIGKILL'));
  const pid = await new Promise<number>((resolve) => {
    owner.stdout.once('data', (text) => resolve(Number(text)));
  });
  return [owner.pid!, pid];
}
