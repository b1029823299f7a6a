/** The trace of messages that VIADUCT_TRACE asks for. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';

interface Event {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly id?: string;
  readonly args: Record<string, unknown>;
}

const program = fileURLToPath(new URL('programs/scenarios.js', import.meta.url));

async function runTraced(file: string) {
  const stderr = new Lines();
  const { exitCode } = await runJob({
    size: 2,
    command: process.execPath,
    args: [program, '5'],
    env: { ...process.env, VIADUCT_TRACE: file },
    stdout: new Lines(),
    stderr,
  });
  return { exitCode, complaints: stderr.text };
}

t.test(
  'a trace has a span for each message on either side, and an arrow between them',
  async (t) => {
    const folder = t.testdir({});
    const file = join(folder, 'trace.json');
    const { exitCode, complaints } = await runTraced(file);
    t.equal(complaints, '');
    t.equal(exitCode, 0, 'all scenarios pass');
    t.same(readdirSync(folder), ['trace.json'], 'the parts are joined');
    const events = JSON.parse(readFileSync(file, 'utf8')) as Event[];
    const spans = events.filter(({ ph }) => ph === 'X');
    t.ok(spans.every(({ ts, dur }) => ts > 0 && dur >= 0));
    for (const pid of [0, 1]) {
      const mine = spans.filter((span) => span.pid === pid);
      t.ok(mine.some(({ name }) => name === 'send') && mine.some(({ name }) => name === 'receive'));
    }
    const span = spans.find(({ name, args }) => name === 'send' && args['bytes'] === 4_194_304);
    t.match(span?.args, { peer: 1, communicator: 'world' });
    const starts = new Set(events.filter(({ ph }) => ph === 's').map(({ id }) => id));
    const ends = events.filter(({ ph }) => ph === 'f').map(({ id }) => id);
    t.ok(ends.length > 1000, 'receives have arrows');
    t.equal(new Set(ends).size, ends.length, 'one each');
    t.ok(
      ends.every((id) => starts.has(id)),
      'which begin at a send',
    );
  },
);

t.test('a trace that can’t be written is an error that says what to do', async (t) => {
  const { exitCode, complaints } = await runTraced('/nowhere/trace.json');
  t.match(complaints, /VIADUCT_TRACE=\/nowhere\/trace.json: this rank can't write/);
  t.equal(exitCode, 1);
});
