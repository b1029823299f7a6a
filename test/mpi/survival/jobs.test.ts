/** Jobs whose ranks go on without those that were killed: revoke, shrink, agree and acknowledge. */
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { runJob } from '../../../lib/job/index.js';
import { viaduct } from '../../command/launcher.js';
import { Lines } from '../../lines.js';
import { randomFromSeed, seededRandom } from '../../seeded-random.js';

const program = fileURLToPath(new URL('../programs/surviving.js', import.meta.url));
const seeds = Number(process.env['VIADUCT_TEST_SURVIVAL'] ?? 6);

/** What each rank has printed, and how the job ended. */
async function run(size: number, args: readonly string[], keepGoing = true) {
  const stdout = new Lines();
  const stderr = new Lines();
  const deaths: number[] = [];
  const result = await runJob({
    size,
    command: process.execPath,
    args: [program, ...args],
    keepGoing,
    timeoutMs: 60_000,
    stdout,
    stderr,
    onEvent: (event) => {
      if (event.type === 'failed') deaths.push(event.failure.rank ?? -1);
    },
  });
  const said: string[][] = Array.from({ length: size }, () => []);
  for (const line of stdout.text.split('\n')) {
    const [, rank = '', words = ''] = /^\[(\d+)\] (.*)$/.exec(line) ?? [];
    if (rank !== '') said[Number(rank)].push(words);
  }
  return { ...result, said, stderr: stderr.text, deaths };
}

const left = (said: readonly string[][]): number[] =>
  [...said.keys()].filter((rank) => said[rank].at(-1) === 'left');

function expectOneStory(t: Test, seed: number, ended: Awaited<ReturnType<typeof run>>): void {
  const { said, exitCode, stderr, deaths } = ended;
  const survivors = left(said);
  const context = `SEED=${seed}: ${JSON.stringify(said)} ${stderr}`;
  if (stderr !== '' || exitCode !== 0 || survivors.length + deaths.length !== said.length) {
    t.fail(`exit ${exitCode}, ${survivors.length} left, ${deaths.length} died: ${context}`);
  }
  // Whoever said something of a step said the same; also those that died later.
  const story = new Map<string, string>();
  for (const line of said.flat()) {
    const [step = '', words = ''] = line.split(': ');
    if (words === '') continue;
    if ((story.get(step) ?? words) !== words) t.fail(`${step} differs: ${context}`);
    story.set(step, words);
  }
}

t.test(`${seeds} jobs go on while ranks are killed in their agreements`, async (t) => {
  const { seed } = seededRandom(t);
  let deaths = 0;
  for (let k = 0; k < seeds; k++) {
    const size = 2 + randomFromSeed(seed + k).below(7);
    const ended = await run(size, ['work', `${seed + k}`]);
    expectOneStory(t, seed + k, ended);
    deaths += ended.deaths.length;
  }
  t.comment(`${deaths} ranks were killed`);
});

t.test(
  'a revocation ends whatever ranks wait for, and all go on in the shrunken one',
  async (t) => {
    const { said, exitCode, stderr } = await run(8, ['revoke']);
    t.equal(stderr, '');
    t.equal(exitCode, 0);
    for (const lines of said) {
      t.strictSame(lines, [
        'ERR_MPI_REVOKED',
        'ERR_MPI_REVOKED true',
        'ERR_MPI_REVOKED',
        '8 of 8, 8',
        'left',
      ]);
    }
  },
);

t.test('receives from any rank go on when failures are acknowledged', async (t) => {
  const { said, exitCode, stderr, failure } = await run(3, ['acknowledge']);
  t.equal(stderr, '');
  t.equal(exitCode, 0);
  t.equal(failure?.rank, 1);
  const last = ['agreed 6, failed 1, unacknowledged ', 'left'];
  t.strictSame(said[0], [
    'ERR_MPI_RANK_FAILED_PENDING',
    'ERR_MPI_RANK_FAILED',
    'failed 1',
    'acknowledged 1',
    'from 2',
    ...last,
  ]);
  t.strictSame(said[2], last);
});

t.test('with an error handler that returns, survivors see the error and leave', async (t) => {
  const { said, exitCode, stderr } = await run(3, ['return']);
  t.equal(stderr, '');
  t.equal(exitCode, 0);
  for (const rank of [0, 2]) t.strictSame(said[rank], ['ERR_MPI_RANK_FAILED', 'left']);
});

t.test('without keepGoing the first failure ends the job all the same', async (t) => {
  const { exitCode, failure } = await run(3, ['return'], false);
  t.equal(exitCode, 137);
  t.match(failure, { code: 'ERR_RANK_SIGNAL', rank: 1 });
});

t.test(
  'viaduct run --keep-going names each that failed, and ends well with one that did',
  async (t) => {
    const job = ['--', 'sh', '-c', 'exit $VIADUCT_RANK'];
    const ended = await viaduct(t, ['run', '-n', '3', '--keep-going', ...job]);
    t.match(ended.stderr, /viaduct run: rank 1 exited with status 1\n/);
    t.match(ended.stderr, /viaduct run: rank 2 exited with status 2\n/);
    t.equal(ended.status, 0);
    const all = await viaduct(t, ['run', '-n', '2', '--keep-going', '--', 'sh', '-c', 'exit 3']);
    t.equal(all.status, 3);
  },
);
