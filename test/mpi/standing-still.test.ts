/** What becomes of jobs that can't go on: senders that flood, ranks that wait for each other. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';

async function runProgram(name: string, size: number, args: string[], env = {}) {
  const stdout = new Lines();
  const stderr = new Lines();
  const program = fileURLToPath(new URL(`programs/${name}.js`, import.meta.url));
  const { exitCode } = await runJob({
    size,
    command: process.execPath,
    args: [program, ...args],
    env: { ...process.env, ...env },
    label: false,
    stdout,
    stderr,
  });
  return { exitCode, said: JSON.parse(stdout.text || 'null') as unknown, complaints: stderr.text };
}

const LIMIT_BYTES = 2 ** 20;

for (const how of ['sendSync', 'send']) {
  for (const [bytes, count] of [
    [8, 20_000],
    [4096, 2000],
  ] as const) {
    t.test(`a rank that floods another by ${how} of ${bytes} bytes has to wait`, async (t) => {
      const args = [how, String(bytes), String(count)];
      const env = { VIADUCT_UNEXPECTED_BYTES: String(LIMIT_BYTES) };
      const { exitCode, said, complaints } = await runProgram('flood', 2, args, env);
      t.equal(complaints, '');
      t.equal(exitCode, 0);
      const { keptBytes, unexpectedMessages, isInOrder, announced } = said as {
        keptBytes: number;
        unexpectedMessages: number;
        isInOrder: boolean;
        announced: number;
      };
      t.ok(isInOrder, 'nothing is lost');
      // The limit, which counts 256 bytes for each message, and what may be in the queue when it is reached.
      const kept = keptBytes + unexpectedMessages * 256;
      t.ok(kept < LIMIT_BYTES + 2 ** 20, 'no more is kept than may be', { kept });
      t.ok(announced > 0, 'the sender was asked to announce');
    });
  }
}

t.test('a flood of isends does not keep a later message from an earlier receive', async (t) => {
  const env = { VIADUCT_UNEXPECTED_BYTES: '100000' };
  const { exitCode, said } = await runProgram('flood', 2, ['isend', '64', '20000'], env);
  t.match(said, { isInOrder: true });
  t.equal(exitCode, 0);
});

t.test('a limit that is no number is refused', async (t) => {
  const env = { VIADUCT_UNEXPECTED_BYTES: 'plenty' };
  const { exitCode, complaints } = await runProgram('flood', 2, ['send', '8', '1'], env);
  t.match(complaints, /VIADUCT_UNEXPECTED_BYTES is a number of bytes, not 'plenty'/);
  t.equal(exitCode, 1);
});

t.test('a rank sees that others are in a deadlock, and of what', async (t) => {
  const { said } = await runProgram('standstill', 4, ['ring of blocking sends']);
  const { text, cycle } = said as { text: string; cycle: number[] };
  t.same(cycle, [1, 2, 3]);
  t.match(
    text,
    /rank 2 is blocked in a send of 1000000 bytes to rank 3, tag 5, communicator world/,
  );
  t.match(text, /deadlock: rank 1 → rank 2 → rank 3 → rank 1/);
});

t.test('a time-out says what each rank waits for', async (t) => {
  const { said } = await runProgram('standstill', 3, ['time-out']);
  const { code, text } = said as { code: string; text: string };
  t.equal(code, 'ERR_MPI_TIMEOUT');
  t.match(text, /receive from rank 1 of rows, tag 3: nothing came of it in 50 ms/);
  t.match(text, /rank 1 awaits a receive of up to 8 bytes from rank 0, tag 4, communicator rows/);
  t.match(text, /rank 2 is blocked in a probe from any rank, tag 7, communicator rows/);
});
