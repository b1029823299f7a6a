/** What ranks learn of one that is gone, in each phase of a message. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';

const program = fileURLToPath(new URL('programs/survivor.js', import.meta.url));

async function survivorsWord(how: string, operation: string) {
  const stdout = new Lines();
  const stderr = new Lines();
  const { exitCode, failure } = await runJob({
    size: 2,
    command: process.execPath,
    args: [program, how, operation],
    label: false,
    stdout,
    stderr,
  });
  return { exitCode, failure, word: stdout.text, complaints: stderr.text };
}

for (const operation of [
  'recvSync',
  'recv',
  'recvSync of any source',
  'sendSync',
  'send',
  'ssendSync',
  'a persistent send',
  'a persistent receive',
  'probeSync',
  'probe of any source',
  'mprobe',
  'receive',
  'recvObject',
  'sendObject',
  'sendrecvSync',
  'waitAnySync',
  'waitSome',
  'waitAll',
  'recvSync of an announced message, later',
  'sendSync, later',
  'splitSync',
  'barrierSync',
  'barrier',
]) {
  t.test(`a rank in ${operation} learns that its peer was killed`, async (t) => {
    const { exitCode, failure, word } = await survivorsWord('kill', operation);
    t.match(word, /^ERR_MPI_RANK_FAILED(_PENDING)? .*rank 1 failed.*killed by SIGKILL/);
    t.equal(exitCode, 128 + 9);
    t.match(failure?.message, /rank 1 was killed by SIGKILL/);
  });
}

t.test('ranks are named as in the communicator that waits for them', async (t) => {
  const { word } = await survivorsWord('kill', 'recvSync in another communicator');
  t.match(word, /receive from rank 0 of world\.split.*: rank 0 \(rank 1 of the world\) failed/);
});

t.test('a rank learns that another aborted the job', async (t) => {
  const { exitCode, word, complaints } = await survivorsWord('abort', 'recvSync');
  t.match(word, /^ERR_MPI_RANK_FAILED .*rank 1 failed: exited with status 9/);
  t.match(complaints, /rank 1 aborts the job: the model diverges/);
  t.equal(exitCode, 9);
});

t.test('a rank learns that its peer threw, and the stack is shown', async (t) => {
  const { exitCode, word, complaints } = await survivorsWord('throw', 'recvSync');
  t.match(word, /^ERR_MPI_RANK_FAILED .*rank 1 failed: exited with status 1/);
  t.match(complaints, /rank 1 has had enough\n\s+at /);
  t.equal(exitCode, 1);
});

t.test('the exit status of a rank that ends itself is the job’s', async (t) => {
  const { exitCode, word } = await survivorsWord('exit', 'sendSync');
  t.match(word, /^ERR_MPI_RANK_FAILED .*rank 1 failed: exited with status 7/);
  t.equal(exitCode, 7);
});

t.test(
  'a rank that leaves without finalizing is a failure for those who wait for it',
  async (t) => {
    const { exitCode, word } = await survivorsWord('leave', 'recv');
    t.match(word, /^ERR_MPI_RANK_FAILED .*rank 1 failed: exited without finalizing/);
    t.equal(exitCode, 1);
  },
);
