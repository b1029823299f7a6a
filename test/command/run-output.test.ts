/** What ranks write comes out whole, in order and labelled. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { allGone, Launch, pidsIn, PRINT_PID, viaduct } from './launcher.js';

const sorted = (text: string): string[] => text.split('\n').filter(Boolean).sort();

t.test('each line has the rank in front, on the stream that it was written to', async (t) => {
  const script = 'echo out $VIADUCT_RANK; echo; echo err $VIADUCT_RANK >&2';
  const ended = await viaduct(t, ['run', '-n', '2', '--', 'sh', '-c', script]);
  t.strictSame(sorted(ended.stdout), ['[0] ', '[0] out 0', '[1] ', '[1] out 1']);
  t.strictSame(sorted(ended.stderr), ['[0] err 0', '[1] err 1']);
  t.equal(ended.status, 0);
});

t.test('a last line without newline comes out, and ends before the next rank', async (t) => {
  const ended = await viaduct(t, ['run', '-n', '2', '--', 'printf', 'no newline']);
  t.strictSame(sorted(ended.stdout), ['[0] no newline', '[1] no newline']);
});

t.test('with --no-label the bytes of a rank are its own', async (t) => {
  const ended = await viaduct(t, ['run', '-n', '1', '--no-label', 'printf', 'a\\n\\nb']);
  t.equal(ended.stdout, 'a\n\nb');
});

t.test('several megabytes of two ranks come out complete and in order', async (t) => {
  const lines = 40_000;
  const script = `
    const lines = [];
    for (let i = 0; i < ${lines}; i++) lines.push('line ' + i + ' ' + 'é€😀'.repeat(i % 13) + '\\n');
    process.stdout.write(lines.join(''));`;
  const ended = await viaduct(t, ['run', '-n', '2', '--', process.execPath, '-e', script]);
  t.equal(ended.status, 0);
  const next = [0, 0];
  let wrong = 0;
  for (const line of ended.stdout.split('\n')) {
    if (line === '') continue;
    const [, rank, index, rest] = /^\[(\d)\] line (\d+) (.*)$/.exec(line) ?? [];
    const expected = next[Number(rank)]++;
    if (Number(index) !== expected || rest !== 'é€😀'.repeat(expected % 13)) wrong++;
  }
  t.equal(wrong, 0, 'lines that are not as they were written');
  t.strictSame(next, [lines, lines]);
});

t.test('a very long line keeps its bytes', async (t) => {
  const script = `process.stdout.write('€'.repeat(1_500_000) + '\\nend\\n')`;
  const ended = await viaduct(t, ['run', '-n', '1', '--', process.execPath, '-e', script]);
  t.ok(ended.stdout === `[0] ${'€'.repeat(1_500_000)}\n[0] end\n`, `${ended.stdout.length} chars`);
});

t.test('rank 0 reads the standard input and the others an empty one', async (t) => {
  const ended = await viaduct(t, ['run', '-n', '2', 'cat'], { input: 'one\ntwo\n' });
  t.equal(ended.stdout, '[0] one\n[0] two\n');
  t.equal(ended.status, 0);
});

t.test('a reader that has seen enough ends the job quietly', async (t) => {
  const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));
  const script = `${PRINT_PID} exec yes`;
  const child = spawn(process.execPath, [main, 'run', '-n', '2', '--', 'sh', '-c', script]);
  t.teardown(() => child.kill('SIGKILL'));
  let stderr = '';
  let stdout = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (pidsIn(stdout).length === 2) child.stdout.destroy();
  });
  const [status] = (await once(child, 'exit')) as [number | null];
  t.equal(stderr, '');
  t.equal(status, 128 + 13, 'the status of a program that SIGPIPE killed');
  await allGone(pidsIn(stdout));
});

t.test('a reader that is slow holds the ranks back and loses nothing', async (t) => {
  const script = `process.stdout.write('x'.repeat(99).concat('\\n').repeat(30_000))`;
  const launch = new Launch(t, ['run', '-n', '2', '--', process.execPath, '-e', script]);
  launch.child.stdout!.pause();
  const timer = setTimeout(() => launch.child.stdout!.resume(), 1500);
  const ended = await launch.ended;
  clearTimeout(timer);
  t.equal(ended.stdout.split('\n').length - 1, 60_000);
  t.equal(ended.status, 0);
});

t.test('a process that a rank leaves behind does not hold the output open', async (t) => {
  const script = `${PRINT_PID} sleep 1000 & echo pid $!`;
  const ended = await viaduct(t, ['run', '-n', '1', '--', 'sh', '-c', script]);
  t.equal(ended.status, 0);
  await allGone(pidsIn(ended.stdout));
});

t.test('with --env and --cwd the ranks are where they were told to be', async (t) => {
  const folder = t.testdir({});
  const script = 'echo $A $B; pwd';
  const args = [
    'run',
    '-n',
    '1',
    '--no-label',
    '--env',
    'A=1=2',
    '--env',
    'B=x y',
    '--cwd',
    folder,
  ];
  const ended = await viaduct(t, [...args, '--', 'sh', '-c', script]);
  t.equal(ended.stdout, `1=2 x y\n${folder}\n`);
});

t.test('with --output-dir each rank writes to files of its own', async (t) => {
  const folder = `${t.testdir({})}/made/for/it`;
  const script = 'echo out $VIADUCT_RANK; printf "no newline" >&2';
  const ended = await viaduct(t, [
    'run',
    '-n',
    '2',
    '--output-dir',
    folder,
    '--',
    'sh',
    '-c',
    script,
  ]);
  t.equal(ended.stdout + ended.stderr, '');
  t.strictSame(readdirSync(folder).sort(), [
    'rank-0.err',
    'rank-0.out',
    'rank-1.err',
    'rank-1.out',
  ]);
  t.equal(readFileSync(`${folder}/rank-1.out`, 'utf8'), 'out 1\n');
  t.equal(readFileSync(`${folder}/rank-0.err`, 'utf8'), 'no newline');
  t.equal(ended.status, 0);
});

t.test('a full disk ends the job with the reason', async (t) => {
  const folder = t.testdir({ 'rank-0.out': t.fixture('symlink', '/dev/full') });
  const ended = await viaduct(t, ['run', '-n', '1', '--output-dir', folder, '--', 'yes']);
  t.match(ended.stderr, /the ranks' output could not be written: ENOSPC/);
  t.equal(ended.status, 1);
});

t.test('with --json events and output are lines of JSON', async (t) => {
  const script = 'echo out; echo err >&2; exit 3';
  const ended = await viaduct(t, ['run', '-n', '1', '--json', '--', 'sh', '-c', script]);
  const lines = ended.stdout.split('\n').slice(0, -1);
  const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(events[0], { type: 'started', rank: 0 });
  const outputs = events.filter(({ type }) => type === 'output');
  t.strictSame(outputs.map(({ stream, text }) => [stream, text]).sort(), [
    ['stderr', 'err\n'],
    ['stdout', 'out\n'],
  ]);
  const failure = { code: 'ERR_RANK_EXIT', rank: 0, reason: 'exited with status 3' };
  t.match(events.at(-2), { type: 'failed', failure });
  t.match(events.at(-1), { type: 'result', exitCode: 3, failure });
  t.equal(ended.stderr, '');
  t.equal(ended.status, 3);
});
