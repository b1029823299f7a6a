/** Jobs started from a program. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';

import t from 'tap';

import { HostPlace, runJob, type JobEvent, type JobOptions } from '../../lib/job/index.js';
import { usableProcessors } from '../../lib/job/processors.js';

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly events: JobEvent[];
}

async function run(options: JobOptions): Promise<Outcome> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const events: JobEvent[] = [];
  const texts = Promise.all([text(stdout), text(stderr)]);
  try {
    const { exitCode } = await runJob({
      stdout,
      stderr,
      onEvent: (event) => events.push(event),
      ...options,
    });
    stdout.end();
    stderr.end();
    const [out, err] = await texts;
    return { exitCode, stdout: out, stderr: err, events };
  } finally {
    stdout.end();
    stderr.end();
  }
}

const sh = (script: string): Pick<JobOptions, 'command' | 'args'> => ({
  command: 'sh',
  args: ['-c', script],
});

const processors = usableProcessors();
const mask = sh('grep Cpus_allowed_list /proc/self/status');

t.test('ranks are bound to processors of their own where there are enough', async (t) => {
  const size = processors.length;
  const { stdout } = await run({ size, ...mask });
  const seen = [...stdout.matchAll(/\[(\d+)\] Cpus_allowed_list:\s*(\S+)/g)];
  t.equal(seen.length, size);
  for (const [, rank, cpus] of seen) t.equal(cpus, `${processors[Number(rank)]}`);
});

t.test("bind 'none' leaves ranks where the launcher may run", async (t) => {
  const { stdout } = await run({ size: 1, bind: 'none', ...mask });
  const { stdout: bound } = await run({ size: 1, ...mask });
  if (processors.length > 1) t.not(stdout, bound);
  else t.comment('one processor: bound and not bound look the same');
  t.match(stdout, 'Cpus_allowed_list');
});

t.test('more ranks than processors are not bound and know it', async (t) => {
  const size = processors.length + 1;
  const { stdout } = await run({ size, label: false, ...sh('echo $VIADUCT_OVERSUBSCRIBED') });
  t.equal(stdout, '1\n'.repeat(size));
  const few = await run({ size: 1, label: false, ...sh('echo .$VIADUCT_OVERSUBSCRIBED') });
  t.equal(few.stdout, '.\n');
});

t.test('a rank finds its place in its environment, without that of an outer job', async (t) => {
  const { stdout } = await run({
    size: 1,
    label: false,
    env: {
      PATH: process.env['PATH'],
      VIADUCT_RANK: '9',
      VIADUCT_NETWORK_ADDRESSES: '10.0.0.1',
      EXTRA: 'yes',
    },
    ...sh(
      'echo $VIADUCT_RANK/$VIADUCT_SIZE $EXTRA .$VIADUCT_NETWORK_ADDRESSES; test -r $VIADUCT_APERTURE',
    ),
  });
  t.equal(stdout, '0/1 yes .\n');
});

t.test('with a network, ranks of this host are told loopback addresses', async (t) => {
  const place = new HostPlace({ network: true });
  const { stdout } = await run({
    size: 2,
    label: false,
    place,
    ...sh('echo $VIADUCT_NETWORK_ADDRESSES'),
  });
  t.equal(stdout, '127.0.0.1,127.0.0.1\n'.repeat(2));
});

t.test('the working directory is the one asked for', async (t) => {
  const folder = t.testdir({});
  const { stdout } = await run({ size: 1, label: false, cwd: folder, command: 'pwd' });
  t.equal(stdout, `${folder}\n`);
});

t.test('events tell of starts, ends and the first failure', async (t) => {
  const { events, exitCode } = await run({ size: 1, ...sh('exit 4') });
  t.match(events, [
    { type: 'started', rank: 0 },
    { type: 'ended', rank: 0, exitCode: 4, signal: null },
    { type: 'failed', failure: { code: 'ERR_RANK_EXIT', rank: 0 } },
  ]);
  t.equal(exitCode, 4);
});

t.test('an aborted signal ends the job and its reason is thrown', async (t) => {
  const controller = new AbortController();
  const reason = new Error('enough');
  await t.rejects(
    run({
      size: 2,
      ...sh('sleep 1000'),
      signal: controller.signal,
      onEvent: (event) => event.type === 'started' && controller.abort(reason),
    }),
    reason,
  );
  await t.rejects(run({ size: 1, ...sh('true'), signal: AbortSignal.abort(reason) }), reason);
});

t.test('a listener that throws ends the job with what it threw', async (t) => {
  const options = { size: 2, ...sh('sleep 1000') };
  const thrown = new Error('listener');
  const onEvent = (): void => {
    throw thrown;
  };
  await t.rejects(run({ ...options, onEvent }), thrown);
});

t.test('wrong options are refused before anything starts', async (t) => {
  for (const size of [0, -1, 1.5, NaN]) {
    await t.rejects(run({ size, command: 'true' }), { code: 'ERR_JOB_OPTION' });
  }
  await t.rejects(run({ size: 1, command: '' }), { code: 'ERR_JOB_OPTION' });
  await t.rejects(run({ size: 1, command: 'true', timeoutMs: -1 }), { code: 'ERR_JOB_OPTION' });
  await t.rejects(run({ size: 1, command: 'true', cwd: '/no/such' }), { code: 'ERR_JOB_CWD' });
  await t.rejects(run({ size: 1, command: 'nothing' }), { code: 'ERR_JOB_PROGRAM' });
});

t.test('many jobs in one process leave no listeners behind', async (t) => {
  const before = process.listenerCount('exit') + process.stdout.listenerCount('error');
  for (let i = 0; i < 3; i++) await runJob({ size: 1, command: 'true' });
  t.equal(process.listenerCount('exit') + process.stdout.listenerCount('error'), before);
});
