/** Command lines that make no sense, and those that only ask. */
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
