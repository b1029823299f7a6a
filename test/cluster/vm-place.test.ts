/** `viaduct run --vm`: ranks in virtual machines of their own. */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { usableProcessors } from '../../lib/job/processors.js';
import {
  allGone,
  descendantsOf,
  Launch,
  programOf,
  rankProgram,
  shell,
  viaduct,
} from '../command/launcher.js';
import { withoutQemu } from '../qemu-installed.js';
import { UML, withoutUml } from '../uml-installed.js';

const sorted = (text: string): string[] => text.split('\n').filter(Boolean).sort();

/** Machines that a launch runs at this moment, by their first processes. */
function machinesOf(launch: Launch): number[] {
  const below = descendantsOf(launch.pid);
  const machines = below.filter((pid) => programOf(pid) === UML);
  return machines.filter((pid) => machines.some((other) => descendantsOf(pid).includes(other)));
}

t.test(
  'each rank runs in a machine of its own and finds the aperture there',
  { skip: withoutUml },
  async (t) => {
    const script =
      'echo $(uname -n) $VIADUCT_RANK/$VIADUCT_SIZE $VIADUCT_APERTURE $EXTRA; pwd; ' +
      'test -c $VIADUCT_APERTURE';
    const folder = t.testdir({});
    const args = ['run', '--vm', '-n', '2', ...shell(script)];
    const ended = await viaduct(t, args, { env: { EXTRA: 'yes' }, cwd: folder });
    t.equal(ended.stderr, '');
    t.strictSame(
      sorted(ended.stdout),
      [
        `[0] ${folder}`,
        '[0] rank-0 0/2 /dev/mmapper yes',
        `[1] ${folder}`,
        '[1] rank-1 1/2 /dev/mmapper yes',
      ].sort(),
    );
    t.equal(ended.status, 0);
  },
);

t.test(
  'ranks in machines exchange messages and leave nothing behind',
  { skip: withoutUml },
  async (t) => {
    const launch = new Launch(t, ['run', '--vm=uml', '-n', '2', ...rankProgram('ring')]);
    let below: number[] = [];
    while (machinesOf(launch).length < 2 && launch.child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      below = descendantsOf(launch.pid);
    }
    const ended = await launch.ended;
    t.equal(ended.stderr, '');
    t.equal(ended.stdout, '[0] sum 1\n');
    t.equal(ended.status, 0);
    t.ok(below.length >= 4, `${below.length} processes were seen`);
    await allGone(below);
  },
);

t.test(
  'one job has ranks on the host and in machines of both drivers',
  { skip: withoutUml || withoutQemu },
  async (t) => {
    const list = ['--vm=host,uml,qemu', '-n', '3', '--bind', 'none'];
    const ended = await viaduct(t, ['run', ...list, ...rankProgram('ring')]);
    t.equal(ended.stderr, '');
    t.equal(ended.stdout, '[0] sum 3\n');
    t.equal(ended.status, 0);
  },
);

t.test('a rank on the host has no network with machines', async (t) => {
  const args = ['run', '--vm=host,uml', '--network', '-n', '2', ...rankProgram('ring')];
  const ended = await viaduct(t, args);
  t.match(ended.stderr, /the network joins virtual machines and none of the host/);
  t.equal(ended.status, 1);
});

const processors = usableProcessors();
const tooFew = processors.length < 2 && 'there is but one processor: nothing to tell apart';
t.test(
  'machines are bound to processors of their own',
  { skip: withoutUml || tooFew },
  async (t) => {
    const launch = new Launch(t, ['run', '--vm', '-n', '2', ...shell('echo up; sleep 1000')]);
    await launch.shown(/up/g, 2);
    const bound = descendantsOf(launch.pid)
      .filter((pid) => programOf(pid) === UML)
      .map((pid) => /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')));
    t.strictSame(
      [...new Set(bound.map((match) => match?.[1]))].sort(),
      processors.slice(0, 2).map(String).sort(),
    );
    launch.child.kill('SIGTERM');
    t.equal((await launch.ended).status, 143);
  },
);

t.test(
  'rank 0 reads the standard input and output comes out whole',
  { skip: withoutUml },
  async (t) => {
    const input = Array.from({ length: 20_000 }, (_, i) => `line ${i} é€😀\n`).join('');
    const ended = await viaduct(t, ['run', '--vm', '-n', '1', '--no-label', '--', 'cat'], {
      input,
    });
    t.equal(ended.stderr, '');
    t.ok(ended.stdout === input, `${ended.stdout.length} of ${input.length} characters`);
    t.equal(ended.status, 0);
  },
);

t.test(
  'with --network ranks reach each other at their addresses',
  { skip: withoutUml },
  async (t) => {
    const script = `
    const net = require('node:net');
    const [first] = process.env.VIADUCT_NETWORK_ADDRESSES.split(',');
    const greet = (socket) => {
      socket.end('hello from ' + socket.localAddress + ' to ' + socket.remoteAddress + '\\n');
      server.close();
    };
    const server = net.createServer(greet);
    const attempt = () => net.connect(5000, first)
      .on('error', () => setTimeout(attempt, 50))
        .on('data', (data) => process.stdout.write(data));
    if (process.env.VIADUCT_RANK === '0') server.listen(5000, first);
    else attempt();`;
    const args = ['run', '--vm', '--network', '-n', '2', '--', process.execPath, '-e', script];
    const ended = await viaduct(t, args);
    t.match(ended, {
      stdout: '[1] hello from 10.86.0.1 to 10.86.0.2\n',
      stderr: /^$/,
      status: 0,
    });
  },
);

t.test('ranks share machines where that is asked for', { skip: withoutUml }, async (t) => {
  const program = rankProgram('ring').slice(1).join(' ');
  const script = `uname -n; exec ${program}`;
  const args = ['run', '--vm', '--ranks-per-vm', '2', '-n', '3', ...shell(script)];
  const ended = await viaduct(t, args);
  t.equal(ended.stderr, '');
  t.strictSame(sorted(ended.stdout), ['[0] sum 3', '[0] vm-0', '[1] vm-0', '[2] vm-1']);
  t.equal(ended.status, 0);
});
