/** Command lines that make no sense, and those that only ask. */
import { hostname } from 'node:os';

import t from 'tap';

import { viaduct } from './launcher.js';

const wrong: [string[], RegExp, number][] = [
  [['run', '-n', '0', '--', 'true'], /-n must be a whole number of at least 1, not '0'/, 2],
  [['run', '-n', 'x', '--', 'true'], /-n must be a whole number of at least 1, not 'x'/, 2],
  [['run', '-n', '1.5', '--', 'true'], /-n must be a whole number/, 2],
  [['run', '-n', '-1', '--', 'true'], /-n must be a whole number/, 2],
  [['run', '--', 'true'], /say how many ranks/, 2],
  [['run', '-n'], /-n needs a value/, 2],
  [['run', '-n', '2'], /name the program/, 2],
  [['run', '-n', '2', '--bogus', '--', 'true'], /unknown option --bogus/, 2],
  [['run', '-n', '2', '--constructor', 'true'], /unknown option --constructor/, 2],
  [['run', '-n', '2', '--bind', 'socket', 'true'], /--bind must be core or none/, 2],
  [['run', '-n', '2', '--timeout', '0', 'true'], /--timeout must be/, 2],
  [['run', '-n', '2', '--timeout', 'soon', 'true'], /--timeout must be/, 2],
  [['run', '-n', '2', '--vm=vbox', 'true'], /--vm must be uml, qemu/, 2],
  [['run', '-n', '2', '--ranks-per-vm', '2', 'true'], /--ranks-per-vm is for .*add --vm/, 2],
  [['run', '-n', '2', '--vm', '--ranks-per-vm', '0', 'true'], /--ranks-per-vm must be a whole/, 2],
  [['run', '-n', '2', '--env', 'NAME', 'true'], /--env must be NAME=VALUE, not 'NAME'/, 2],
  [['run', '-n', '2', '--env', '=1', 'true'], /--env must be NAME=VALUE/, 2],
  [['run', '-n', '2', '--heartbeat', '0.5', 'true'], /--heartbeat must be .* at least 1 /, 2],
  [['run', '-n', '2', '--heartbeat', 'soon', 'true'], /--heartbeat must be a number/, 2],
  [['run', '--hosts', '/no/such', 'true'], /--hosts \/no\/such can't be read: ENOENT/, 2],
  [['run', '-n', '2', '--cwd', '/no/such', 'true'], /the working directory \/no\/such is not/, 1],
  [['run', '-n', '2', '--output-dir', '/dev/null/x', 'true'], /no folder \/dev\/null\/x/, 1],
  [['run', '-n', '2', '--label=1', 'true'], /--label takes no value/, 2],
  [['run', '-n', '2', '--', 'no-such-program'], /no program 'no-such-program' in PATH/, 127],
  [['run', '-n', '2', '--', './no/such/program'], /there is no program \/.*no\/such\/program/, 127],
  [['run', '-n', '2', '--', '/etc/passwd'], /\/etc\/passwd is not an executable file/, 126],
  [['jump'], /unknown command jump; see viaduct --help/, 2],
  [['--jump'], /unknown option --jump/, 2],
  [[], /name a command/, 2],
];

for (const [args, message, status] of wrong) {
  t.test(`viaduct ${args.join(' ')} says what is wrong in one line`, async (t) => {
    const ended = await viaduct(t, args);
    t.match(ended.stderr, message);
    t.match(ended.stderr, /^viaduct[^\n]*\n$/);
    t.equal(ended.status, status);
    t.equal(ended.stdout, '');
  });
}

const hosts: [string, RegExp][] = [
  ['localhost:2\nnode7:2 # far\nnode8\n', /names node7, node8: .*engine .*srun --mpi=pmi2/],
  ['localhost:\n', /line 1: 'localhost:' is not HOST, HOST:RANKS/],
  ['# nobody\n', /names no host/],
  ['localhost:2\n', /-n 3 is more than the 2 ranks/],
];
for (const [text, message] of hosts) {
  t.test(`a file of hosts is refused: ${JSON.stringify(text)}`, async (t) => {
    const file = `${t.testdir({ hosts: text })}/hosts`;
    const ended = await viaduct(t, ['run', '-n', '3', '--hosts', file, 'true']);
    t.match(ended.stderr, message);
    t.equal(ended.status, 2);
  });
}

t.test('a file that names this host says how many ranks there are', async (t) => {
  const text = `localhost slots=2 # two\n\n127.0.0.1\n${hostname()}:1\n`;
  const file = `${t.testdir({ hosts: text })}/hosts`;
  const ended = await viaduct(t, ['run', '--hosts', file, '--no-label', 'echo', 'x']);
  t.equal(ended.stdout, 'x\n'.repeat(4));
  t.equal(ended.status, 0);
});

t.test('help shows an example and succeeds', async (t) => {
  for (const args of [['--help'], ['-h'], ['run', '--help'], ['run', '-n', '2', '-h']]) {
    const ended = await viaduct(t, args);
    t.equal(ended.status, 0, args.join(' '));
    t.match(ended.stdout, 'viaduct run -n 2 -- node app.js');
    t.equal(ended.stderr, '');
  }
});

t.test('--version prints the version', async (t) => {
  const ended = await viaduct(t, ['--version']);
  t.match(ended.stdout, /^\d+\.\d+\.\d+\n$/);
  t.equal(ended.status, 0);
});

t.test("options after the program are the program's own", async (t) => {
  const ended = await viaduct(t, ['run', '-n', '1', 'echo', '-n', '7', '--vm', '--help']);
  t.equal(ended.stdout, '[0] 7 --vm --help\n');
  t.equal(ended.status, 0);
});
