/** `viaduct vm`: machines that other processes find by their names. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { survivors, treeOf } from '../process-tree.js';
import { withoutQemu } from '../qemu-installed.js';
import { withoutUml } from '../uml-installed.js';
import { type Ended, Launch, viaduct } from './launcher.js';

t.setTimeout(120_000);

// The folder of machines' sockets is this test's own then.
delete process.env['XDG_RUNTIME_DIR'];

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => /^viaduct-vm-/.test(name));

interface Listed {
  readonly name: string;
  readonly state: string;
  readonly keeperPid: number;
  readonly reason?: string;
}

async function listed(t: Test): Promise<Listed[]> {
  return JSON.parse((await viaduct(t, ['vm', 'list', '--json'])).stdout) as Listed[];
}

/** Boots a machine that is gone when the test ends. */
async function boot(t: Test, name: string, ...options: string[]): Promise<Ended> {
  const ended = await viaduct(t, ['vm', 'boot', name, '--memory', '64M', ...options]);
  t.teardown(() => viaduct(t, ['vm', 'kill', name]));
  return ended;
}

async function goneFolders(): Promise<string[]> {
  for (let rounds = 0; rounds < 200 && folders().length > 0; rounds += 1) await sleep(50);
  return folders();
}

t.test(
  'a machine outlives the command that booted it, until it is stopped',
  {
    skip: withoutUml,
  },
  async (t) => {
    t.match(await boot(t, 'web'), {
      status: 0,
      stdout: /^web runs \(uml, Linux .*\), after .* s\n$/,
    });
    t.match(await listed(t), [{ name: 'web', state: 'running', driver: 'uml' }]);

    await t.test('commands run in it with their input, output and exit status', async (t) => {
      const script = 'cat; echo warned >&2; exit 7';
      const ended = await viaduct(t, ['vm', 'exec', 'web', '--', 'sh', '-c', script], {
        input: 'given\n',
      });
      t.match(ended, { status: 7, stdout: 'given\n', stderr: 'warned\n' });
    });

    await t.test('a signal reaches the command, whose end by it is the exit status', async (t) => {
      const launch = new Launch(t, [
        'vm',
        'exec',
        'web',
        '--',
        'sh',
        '-c',
        'echo ready; sleep 1000',
      ]);
      await launch.shown(/ready/g, 1);
      launch.child.kill('SIGTERM');
      t.match(await launch.ended, { status: 143 });
    });

    await t.test('a command is given its folder and an environment', async (t) => {
      const options = ['--cwd', '/tmp', '--env', 'COLOUR=blue'];
      const ended = await viaduct(t, [
        ...['vm', 'exec', 'web', ...options, '--', 'sh', '-c', 'pwd; echo $COLOUR'],
      ]);
      t.match(ended, { status: 0, stdout: '/tmp\nblue\n' });
    });

    await t.test('files are copied in and out', async (t) => {
      const folder = t.testdir({ original: 'some bytes' });
      t.match(await viaduct(t, ['vm', 'copy', join(folder, 'original'), 'web:/tmp/copy']), {
        status: 0,
      });
      t.match(await viaduct(t, ['vm', 'copy', 'web:/tmp/copy', join(folder, 'back')]), {
        status: 0,
      });
      t.equal(readFileSync(join(folder, 'back'), 'utf8'), 'some bytes');
    });

    await t.test('its console and its use of the host are shown', async (t) => {
      t.match(await viaduct(t, ['vm', 'console', 'web']), { status: 0, stdout: /Linux version/ });
      const { stdout } = await viaduct(t, ['vm', 'stats', 'web', '--json']);
      const stats = JSON.parse(stdout) as { residentBytes: number; cpuMs: number };
      t.ok(stats.residentBytes > 2 ** 20);
      t.ok(stats.cpuMs > 0);
    });

    await t.test('what its driver can’t do is said', async (t) => {
      t.match(await viaduct(t, ['vm', 'pause', 'web']), {
        status: 1,
        stderr:
          /^viaduct vm: VM web: a machine of driver uml can't pause: .*one of driver qemu can/,
      });
    });

    await t.test('its name is taken', async (t) => {
      t.match(await viaduct(t, ['vm', 'boot', 'web']), {
        status: 1,
        stderr:
          /there is a machine 'web' already; stop it \(viaduct vm stop web\) or choose another/,
      });
    });

    const [{ keeperPid } = { keeperPid: 0 }] = await listed(t);
    const tree = treeOf(keeperPid);
    t.match(await viaduct(t, ['vm', 'stop', 'web']), { status: 0, stdout: '' });
    t.same(await survivors(tree), []);
    t.same(await goneFolders(), []);
    t.match(await viaduct(t, ['vm', 'list']), { stdout: /^no machine; viaduct vm boot NAME/ });
  },
);

t.test('of two boots by one name at once one machine comes', { skip: withoutUml }, async (t) => {
  const ends = await Promise.all([boot(t, 'twin'), boot(t, 'twin')]);
  t.same(ends.map(({ status }) => status).sort(), [0, 1]);
  t.match(ends.find(({ status }) => status === 1)?.stderr, /there is a machine 'twin' already/);
  t.match(await viaduct(t, ['vm', 'exec', 'twin', '--', 'true']), { status: 0 });
  t.match(await viaduct(t, ['vm', 'kill', 'twin']), { status: 0 });
  t.same(await goneFolders(), []);
});

t.test('a machine whose keeper is killed leaves nothing', { skip: withoutUml }, async (t) => {
  await boot(t, 'lost');
  const [{ keeperPid } = { keeperPid: 0 }] = await listed(t);
  const tree = treeOf(keeperPid);
  t.ok(tree.length > 3, 'keeper, guards and the machine are there');
  process.kill(keeperPid, 'SIGKILL');
  t.same(await survivors(tree), []);
  t.same(await goneFolders(), []);
  t.match(await viaduct(t, ['vm', 'exec', 'lost', '--', 'true']), {
    status: 1,
    stderr: /there is no machine 'lost'; viaduct vm list shows those that there are/,
  });
});

t.test(
  'a machine that ends by itself is shown with the reason until it is stopped',
  {
    skip: withoutUml,
  },
  async (t) => {
    await boot(t, 'fallen');
    await viaduct(t, ['vm', 'exec', 'fallen', '--', 'sh', '-c', 'echo c > /proc/sysrq-trigger']);
    const [found] = await listed(t);
    t.match(found, { name: 'fallen', state: 'ended', reason: /panic/ });
    t.match(await viaduct(t, ['vm', 'stop', 'fallen']), { status: 0 });
    t.same(await goneFolders(), []);
  },
);

t.test('a boot that is interrupted leaves nothing', { skip: withoutUml }, async (t) => {
  const launch = new Launch(t, ['vm', 'boot', 'early', '--memory', '64M']);
  while (folders().length === 0) await sleep(5);
  const tree = treeOf(launch.pid);
  launch.child.kill('SIGINT');
  t.match(await launch.ended, { status: 130 });
  t.same(await survivors(tree), []);
  t.same(await goneFolders(), []);
});

t.test(
  'what keeper and guard left that were killed together does not block the name',
  {
    skip: withoutUml,
  },
  async (t) => {
    await boot(t, 'again');
    const [folder = ''] = folders();
    const [{ keeperPid } = { keeperPid: 0 }] = await listed(t);
    const stat = readFileSync(`/proc/${keeperPid}/stat`, 'utf8');
    const inner = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    const outer = Number(
      readFileSync(`/proc/${inner}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')[1],
    );
    const tree = treeOf(outer);
    for (const pid of [outer, inner, keeperPid]) process.kill(pid, 'SIGSTOP');
    for (const pid of [outer, inner, keeperPid]) process.kill(pid, 'SIGKILL');
    t.same(await survivors(tree), []);
    t.ok(existsSync(join(tmpdir(), folder)), 'nobody was left to remove it');
    t.match(await boot(t, 'again'), { status: 0 });
    t.match(await viaduct(t, ['vm', 'kill', 'again']), { status: 0 });
    t.same(await goneFolders(), []);
  },
);

t.test('a name is free when its machine has stopped', { skip: withoutUml }, async (t) => {
  await boot(t, 'phoenix');
  t.match(await viaduct(t, ['vm', 'stop', 'phoenix']), { status: 0 });
  t.match(await viaduct(t, ['vm', 'boot', 'phoenix', '--memory', '64M']), { status: 0 });
  t.match(await viaduct(t, ['vm', 'kill', 'phoenix']), { status: 0 });
  t.same(folders(), []);
});

t.test('what no machine can have made is not listed', async (t) => {
  const stray = join(tmpdir(), `viaduct-vm-${process.getuid?.() ?? 0}-_x`);
  mkdirSync(stray);
  t.match(await viaduct(t, ['vm', 'list']), { status: 0, stdout: /^no machine/ });
  rmdirSync(stray);
});

t.test('a folder that is not the user’s own is not used', async (t) => {
  const way = join(tmpdir(), `viaduct-vm-${process.getuid?.() ?? 0}-taken`);
  writeFileSync(way, '');
  t.match(await viaduct(t, ['vm', 'boot', 'taken']), {
    status: 1,
    stderr: /taken is in the way: it is not a folder that only you may enter/,
  });
  spawnSync('rm', [way]);
});

t.test('wrong words are told with exit status 2', async (t) => {
  for (const [words, says] of [
    [[], /name a command, such as boot or list/],
    [['fly'], /unknown command fly/],
    [['boot'], /it takes the name of the new machine/],
    [['boot', 'a', '--memory', 'much'], /--memory is a size such as 256M or 1G, not 'much'/],
    [['boot', 'a', '--driver', 'xen'], /--driver is uml or qemu, not 'xen'/],
    [['boot', 'a', '--vcpus', '0'], /--vcpus is a whole number above 0/],
    [['exec', 'a'], /it takes the name of a machine and a command/],
    [['exec', 'a', '--env', 'x', '--', 'true'], /--env is NAME=VALUE, not 'x'/],
    [['copy', '/a', '/b'], /one of the two is in a machine/],
    [['memory', 'a', '-'], /the size is a size such as 256M/],
  ] as const) {
    t.match(await viaduct(t, ['vm', ...words]), { status: 2, stderr: says });
  }
});

t.test('a name that no machine can have is refused', async (t) => {
  t.match(await viaduct(t, ['vm', 'boot', '../x']), { status: 1, stderr: /no machine is named/ });
  t.match(await viaduct(t, ['vm', 'stop', 'nobody']), { status: 1, stderr: /no machine 'nobody'/ });
});

t.test('bash completes commands and the names of machines', { skip: withoutUml }, async (t) => {
  const { stdout: script } = await viaduct(t, ['vm', 'completion', 'bash']);
  const complete = (words: string): string[] => {
    const asked = `viaduct() { echo webster; }
      ${script}
      COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _viaduct; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['-c', asked], { encoding: 'utf8' }).stdout.trim().split('\n');
  };
  t.same(complete('viaduct vm rest'), ['restore']);
  t.same(complete('viaduct vm stop web'), ['webster']);
  t.same(complete("viaduct vm ''").includes('boot'), true);
});

t.test('a QEMU machine is paused, saved, restored and moved', { skip: withoutQemu }, async (t) => {
  const folder = t.testdir({});
  const wide = ['--driver', 'qemu', '--memory', '128M', '--program', 'sh', '--program', 'cat'];
  t.match(await viaduct(t, ['vm', 'boot', 'origin', ...wide, '--timeout', '100']), { status: 0 });
  t.teardown(() => viaduct(t, ['vm', 'kill', 'origin']));
  const inGuest = (name: string, script: string): Promise<Ended> =>
    viaduct(t, ['vm', 'exec', name, '--', 'sh', '-c', script]);
  t.match(await inGuest('origin', 'echo kept > /tmp/mark'), { status: 0 });

  t.match(await viaduct(t, ['vm', 'pause', 'origin']), { status: 0 });
  t.match(await inGuest('origin', 'true'), { status: 1, stderr: /paused/ });
  t.match(await viaduct(t, ['vm', 'resume', 'origin']), { status: 0 });

  const file = join(folder, 'snapshot');
  t.match(await viaduct(t, ['vm', 'snapshot', 'origin', file, '--json']), {
    status: 0,
    stdout: /"transferredBytes": \d+/,
  });
  t.match(await viaduct(t, ['vm', 'restore', 'copy', file]), { status: 0 });
  t.teardown(() => viaduct(t, ['vm', 'kill', 'copy']));
  t.match(await inGuest('copy', 'cat /tmp/mark'), { status: 0, stdout: 'kept\n' });
  t.match(await viaduct(t, ['vm', 'kill', 'copy']), { status: 0 });

  const long = join(folder, 'x'.repeat(108));
  t.match(await viaduct(t, ['vm', 'receive', 'moved', long]), {
    status: 1,
    stderr: /a socket's path has at most 107; choose a shorter one/,
  });
  const socket = join(tmpdir(), 'migration');
  const receiver = new Launch(t, ['vm', 'receive', 'moved', socket]);
  t.teardown(() => viaduct(t, ['vm', 'kill', 'moved']));
  while (!existsSync(socket)) await sleep(20);
  t.match(await viaduct(t, ['vm', 'migrate', 'origin', socket]), {
    status: 0,
    stdout: /^origin has moved to .*, it stood still for \d+ ms\n$/,
  });
  t.match(await receiver.ended, { status: 0, stdout: /^moved runs/ });
  t.match(await inGuest('moved', 'cat /tmp/mark'), { status: 0, stdout: 'kept\n' });
  t.same(
    (await listed(t)).map(({ name }) => name),
    ['moved'],
  );
  t.match(await viaduct(t, ['vm', 'kill', 'moved']), { status: 0 });
  t.same(await goneFolders(), []);
});
