/** Messages by the verbs channel over the software HCA: some ways of many; `npm run test:matrix` takes all. */
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';
import { lackingNamespaces } from '../verbs/traffic/namespaces.js';
import { startNeighbourhood } from './neighbours.js';
import { runScenarios } from './run-scenarios.js';
import { verbs } from './verbs-ways.js';

const programOf = (name: string): string =>
  fileURLToPath(new URL(`programs/${name}.js`, import.meta.url));

t.test('two ranks, long messages by RDMA read', (t) =>
  runScenarios(t, 2, verbs('direct and copy', 'rdma-read')),
);

t.test('two ranks, no message whole, long ones by RDMA write', (t) =>
  runScenarios(t, 2, verbs('direct and copy', 'rdma-write', '0')),
);

t.test('two ranks in network namespaces of their own', { skip: lackingNamespaces() }, async (t) => {
  const env = { ...verbs('packets', 'rdma-read'), VIADUCT_PACKETS: '0' };
  await runScenarios(t, 2, env, undefined, await startNeighbourhood(t));
});

async function run(name: string, size: number, args: string[], env: Record<string, string>) {
  const stdout = new Lines();
  const stderr = new Lines();
  const { exitCode } = await runJob({
    size,
    command: process.execPath,
    args: [programOf(name), ...args],
    env: { ...process.env, ...env },
    label: false,
    stdout,
    stderr,
  });
  return { exitCode, said: stdout.text, complaints: stderr.text };
}

t.test('a rank that floods another has to wait', async (t) => {
  const limit = 2 ** 20;
  const env = { VIADUCT_CHANNEL: 'verbs', VIADUCT_UNEXPECTED_BYTES: String(limit) };
  const { exitCode, said, complaints } = await run('flood', 2, ['send', '4096', '2000'], env);
  t.equal(complaints, '');
  t.equal(exitCode, 0);
  const flood = JSON.parse(said) as {
    keptBytes: number;
    unexpectedMessages: number;
    isInOrder: boolean;
    announced: number;
  };
  t.ok(flood.isInOrder, 'nothing is lost');
  // And what may be under way when the limit is reached.
  const kept = flood.keptBytes + flood.unexpectedMessages * 256;
  t.ok(kept < limit + 2 ** 20, 'no more is kept than may be', { kept });
  t.ok(flood.announced > 0, 'the sender was asked to announce');
});

for (const operation of ['recvSync', 'recv', 'sendSync', 'send', 'probe of any source']) {
  t.test(`a rank in ${operation} learns that its peer was killed`, async (t) => {
    const env = { VIADUCT_CHANNEL: 'verbs' };
    const { exitCode, said } = await run('survivor', 2, ['kill', operation], env);
    t.match(said, /^ERR_MPI_RANK_FAILED(_PENDING)? .*rank 1 failed/);
    t.equal(exitCode, 128 + 9);
  });
}

t.test('a device that is not there is named, with those that are', async (t) => {
  const env = { VIADUCT_CHANNEL: 'verbs', VIADUCT_DEVICE: 'mlx9_0' };
  const { exitCode, complaints } = await run('large', 2, ['8'], env);
  t.match(complaints, /ERR_MPI_DEVICE/);
  t.match(complaints, /no device 'mlx9_0'; there are: .*softhca0/);
  t.equal(exitCode, 1);
});

t.test('a channel, protocol or limit that there is not is refused', async (t) => {
  for (const env of [
    { VIADUCT_CHANNEL: 'ether' },
    { VIADUCT_LONG_MESSAGES: 'slowly' },
    { VIADUCT_EAGER_BYTES: '-1' },
  ]) {
    const [name] = Object.keys(env);
    const { exitCode, complaints } = await run('large', 2, ['8'], env);
    t.match(complaints, new RegExp(`${name} is .*not '`));
    t.equal(exitCode, 1);
  }
});
