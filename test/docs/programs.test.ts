/** The programs of examples/ compile, and do what their first lines say. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { withoutUml } from '../uml-installed.js';
import { compile } from './compile.js';
import { runNode } from './run.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = join(root, 'examples');
const viaduct = join(root, 'dist/lib/command/main.js');

interface Listener {
  readonly child: ChildProcess;
  readonly port: string;
  readonly rest: Promise<string>;
  readonly closed: Promise<unknown[]>;
}

/** A program that listens on a free port of its own. */
async function listener(t: Test, program: string): Promise<Listener> {
  const child = spawn(process.execPath, [program, 'listen', '0'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const closed = once(child, 'close');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = /^listening on port (\d+)\n/.exec(line.toString())?.[1] ?? '';
  return { child, port, rest: text(child.stdout), closed };
}

t.test('the programs compile', async (t) => {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const complaints = compile(files, folder, t.testdir({}));
  for (const [file, said] of complaints) t.strictSame(said, [], file);
});

t.test('rdma-ping-pong: two processes write into each other', async (t) => {
  const server = await listener(t, 'rdma-ping-pong.js');
  const client = await runNode(['rdma-ping-pong.js', 'localhost', server.port], folder);
  t.match(client, { stdout: /^1000 round trips over \w+, .* µs each\n$/, stderr: /^$/, status: 0 });
  t.strictSame(await server.closed, [0, null]);
  t.match(await server.rest, /^1000 round trips over \w+, .* µs each\n$/);
});

t.test('completion-server: clients come and go, and the server ends when asked', async (t) => {
  const server = await listener(t, 'completion-server.js');
  const call = (...words: string[]): ReturnType<typeof runNode> =>
    runNode(['completion-server.js', 'localhost', server.port, ...words], folder);
  const [first, second] = await Promise.all([call('hello', 'world'), call('again')]);
  t.match(first, { stdout: 'HELLO\nWORLD\n', stderr: /^$/, status: 0 });
  t.match(second, { stdout: 'AGAIN\n', stderr: /^$/, status: 0 });
  server.child.kill('SIGTERM');
  t.strictSame(await server.closed, [0, null]);
  t.equal(await server.rest, 'served\n');
});

t.test('ring: all ranks add their numbers', async (t) => {
  const outcome = await runNode([viaduct, 'run', '-n', '3', '--', 'node', 'ring.js'], folder);
  t.match(outcome, { stdout: '[0] the ranks of 3 add up to 3\n', stderr: /^$/, status: 0 });
});

t.test('job-in-vms: the ring in virtual machines', { skip: withoutUml }, async (t) => {
  const outcome = await runNode(['job-in-vms.js', '2'], folder);
  t.strictSame(outcome.stdout.split('\n').sort(), [
    '',
    '[0] the ranks of 2 add up to 1',
    'rank 0 runs in a machine of its own',
    'rank 1 runs in a machine of its own',
  ]);
  t.match(outcome, { stderr: /^$/, status: 0 });
});
