import t from 'tap';

import { UsageError, defaultSizes, help, parseOptions } from '../../bench/options.js';
import type { Options } from '../../bench/options.js';
import { planRuns } from '../../bench/plan.js';
import { Progress } from '../../bench/progress.js';

function parsed(...args: string[]): Options {
  const options = parseOptions(args);
  if (options === 'help') throw new Error('help');
  return options;
}

t.test('without arguments both benchmarks run everywhere, from 0 B to 4 MiB', async (t) => {
  const options = parsed();
  t.same(options.benchmarks, ['latency', 'bandwidth']);
  t.same(options.wheres, ['native', 'vm', 'vm-tcp', 'tcp']);
  t.equal(options.sizes.length, 24);
  t.same([options.sizes[0], options.sizes[1], options.sizes.at(-1)], [0, 1, 4 * 2 ** 20]);
  t.equal(options.peers, false);
});

t.test('the report is written where no benchmark is named, or where it is asked for', async (t) => {
  t.equal(parsed().report, 'results');
  t.equal(parsed('--peers').report, 'results');
  t.equal(parsed('latency').report, undefined);
  t.equal(parsed('latency', '--report', 'out').report, 'out');
});

t.test('one benchmark, places and sizes can be chosen', async (t) => {
  const options = parsed(
    'latency',
    '--where',
    'vm,native',
    '--sizes',
    '4096,8,8',
    '--json',
    'x.json',
  );
  t.same(options.benchmarks, ['latency']);
  t.same(options.wheres, ['native', 'vm']);
  t.same(options.sizes, [8, 4096]);
  t.equal(options.json, 'x.json');
});

t.test('wrong usage is told in a sentence that names what is wrong', async (t) => {
  const cases: [string[], string][] = [
    [['--frobnicate'], "Unknown option '--frobnicate'"],
    [['speed'], "unknown benchmark 'speed'; there are latency, bandwidth"],
    [['--where', 'cloud'], "unknown place 'cloud'; there are native, verbs, vm, vm-tcp, tcp"],
    [['--where', ''], "--where takes a list with commas, not ''"],
    [['--sizes', '8,,9'], "--sizes takes a list with commas, not '8,,9'"],
    [['--sizes', '-1'], '--sizes'],
    [['--sizes', '4K'], "not '4K'"],
    [['--sizes', '16777217'], '--sizes takes whole numbers from 0 to 16777216'],
    [['--rounds', '0'], '--rounds takes whole numbers from 1 to 100'],
    [['--samples', '1.5'], '--samples takes whole numbers from 1 to 1000'],
    [['bandwidth', '--sizes', '0'], 'bandwidth needs a size of at least 1 byte'],
    [['--where', 'tcp', '--sizes', '0'], 'TCP needs a size of at least 1 byte'],
    [['--peers', '--where', 'vm'], 'add native to --where'],
    [['--json'], '--json'],
  ];
  for (const [args, message] of cases) {
    t.throws(() => parseOptions(args), { name: 'UsageError', message }, args.join(' '));
    t.throws(() => parseOptions(args), UsageError);
  }
});

t.test('help shows examples and every option', async (t) => {
  t.equal(parseOptions(['--help']), 'help');
  t.equal(parseOptions(['latency', '-h']), 'help');
  for (const option of [
    '--where',
    '--sizes',
    '--rounds',
    '--samples',
    '--peers',
    '--json',
    '--report',
  ]) {
    t.match(help, option);
  }
  t.match(help, 'Examples:');
});

t.test('native and VM run once in each round, first in turn, then in reverse', async (t) => {
  const runs = planRuns<string>(parsed('--rounds', '2', '--peers'), ['MPICH']);
  t.same(
    runs.map((run) => [run.round, run.kind === 'peer' ? run.peer : run.vm ? 'vm' : 'native']),
    [
      [0, 'vm'],
      [0, 'native'],
      [0, 'MPICH'],
      [1, 'MPICH'],
      [1, 'native'],
      [1, 'vm'],
    ],
  );
});

t.test('TCP runs in the first round only, in the same processes and VMs as MPI', async (t) => {
  const steps = planRuns<string>(parsed('--rounds', '2', '--sizes', '0,8'), []).map((run) =>
    run.steps.map(({ where, benchmark, sizes }) => `${where} ${benchmark} ${sizes.join()}`),
  );
  t.same(steps, [
    ['vm latency 0,8', 'vm bandwidth 8', 'vm-tcp latency 8', 'vm-tcp bandwidth 8'],
    ['native latency 0,8', 'native bandwidth 8', 'tcp latency 8', 'tcp bandwidth 8'],
    ['native latency 0,8', 'native bandwidth 8'],
    ['vm latency 0,8', 'vm bandwidth 8'],
  ]);
});

t.test('places that were not chosen do not run', async (t) => {
  const runs = planRuns<string>(parsed('latency', '--where', 'tcp', '--rounds', '3'), []);
  t.equal(runs.length, 1);
  t.same(runs[0]?.steps, [
    { transport: 'tcp', benchmark: 'latency', where: 'tcp', sizes: defaultSizes.slice(1) },
  ]);
});

t.test('progress is a live line on a terminal and leaves nothing behind', async (t) => {
  const written: string[] = [];
  const progress = new Progress(
    { isTTY: true, columns: 40, write: (text) => written.push(text) },
    2,
  );
  progress.step('round 1 of 1, two virtual machines: latency');
  progress.result(8);
  progress.clear();
  t.ok(written.every((text) => text.startsWith('\r\x1b[2K') && !text.includes('\n')));
  t.match(written[1], '50 %');
  t.ok(written.every((text) => text.length <= 39 + '\r\x1b[2K'.length));
  t.equal(written.at(-1), '\r\x1b[2K');
});

t.test('progress is a plain line for each step where there is no terminal', async (t) => {
  const written: string[] = [];
  const progress = new Progress({ write: (text) => written.push(text) }, 2);
  progress.step('round 1 of 1, VM: latency');
  progress.result(8);
  progress.clear();
  t.equal(written.length, 1);
  t.match(written[0], /^\[ {2}0 %, \d+ s\] round 1 of 1, VM: latency\n$/);
});
