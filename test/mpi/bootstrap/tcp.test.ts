/** Programs whose ranks meet by TCP, in network namespaces of their own. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { lackingTwoHosts, openTwoHosts } from '../../../bench/wire/two-hosts.js';

const run = promisify(execFile);
const ring = fileURLToPath(new URL('../../job/programs/ring.js', import.meta.url));
const VIADUCT_JOB_SECRET = 'as long as it is secret';

/** A pid namespace of its own: processes of two can't map each other's memory. */
const APART = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--'] as const;

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function end(command: readonly string[], env: Record<string, string>): Promise<Ended> {
  const [program = '', ...args] = command;
  try {
    const ended = await run(program, args, {
      env: { ...process.env, VIADUCT_JOB_SECRET, ...env },
      timeout: 60_000,
    });
    return { status: 0, ...ended };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

/** A port of the loopback that nobody has. */
async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return `127.0.0.1:${port}`;
}

function ranks(
  size: number,
  env: Record<string, string>,
  prefix: (rank: number) => readonly string[] = () => [],
): Promise<Ended[]> {
  return Promise.all(
    Array.from({ length: size }, (_, rank) =>
      end([...prefix(rank), process.execPath, ring], {
        VIADUCT_RANK: `${rank}`,
        VIADUCT_SIZE: `${size}`,
        ...env,
      }),
    ),
  );
}

function expectSum(t: Test, ended: readonly Ended[]): void {
  const size = ended.length;
  t.equal(ended.map(({ stderr }) => stderr).join(''), '');
  t.equal(ended.map(({ stdout }) => stdout).join(''), `sum ${(size * (size - 1)) / 2}\n`);
}

t.test('ranks that nobody launched meet by an address and a secret', async (t) => {
  for (const size of [1, 4]) {
    expectSum(t, await ranks(size, { VIADUCT_RENDEZVOUS: await freeAddress() }));
  }
});

t.test('the secret may be in a file', async (t) => {
  const file = `${t.testdir({ secret: 'of sixteen letters at least\n' })}/secret`;
  const env = { VIADUCT_RENDEZVOUS: await freeAddress(), VIADUCT_JOB_SECRET_FILE: file };
  const withoutVariable = ['env', '-u', 'VIADUCT_JOB_SECRET'];
  expectSum(t, await ranks(2, env, () => withoutVariable));
});

const lacking = await lackingTwoHosts();

t.test(
  'ranks in two network namespaces meet by TCP, and share the memory of their one kernel',
  { skip: lacking ?? false },
  async (t) => {
    const hosts = await openTwoHosts();
    t.teardown(() => hosts.close());
    const env = { VIADUCT_RENDEZVOUS: `${hosts.addresses[0]}:7000` };
    expectSum(t, await ranks(4, env, (rank) => hosts.prefixes[rank % 2 === 0 ? 0 : 1]));
  },
);

t.test(
  'ranks that share no memory, on two hosts, send by verbs',
  { skip: lacking ?? false },
  async (t) => {
    const hosts = await openTwoHosts();
    t.teardown(() => hosts.close());
    const env = { VIADUCT_RENDEZVOUS: `${hosts.addresses[0]}:7000` };
    const prefix = (rank: number): string[] => [...hosts.prefixes[rank === 0 ? 0 : 1], ...APART];
    expectSum(t, await ranks(2, env, prefix));
  },
);

t.test(
  'ranks that may use nothing but shared memory, and have none, say so, each for itself',
  { skip: lacking ?? false },
  async (t) => {
    const env = { VIADUCT_RENDEZVOUS: await freeAddress(), VIADUCT_CHANNEL: 'aperture' };
    const ended = await ranks(2, env, (rank) => (rank === 0 ? [] : APART));
    ended.forEach(({ status, stderr }, rank) => {
      t.match(stderr, `init: rank ${1 - rank} runs on this host in another pid namespace`);
      t.not(status, 0);
    });
  },
);

t.test('Open MPI’s launcher tells enough for ranks to meet', async (t) => {
  const address = await freeAddress();
  const mpirun = 'mpirun.openmpi';
  const options = ['--allow-run-as-root', '--oversubscribe', '-n', '3'];
  const pass = ['-x', 'VIADUCT_RENDEZVOUS', '-x', 'VIADUCT_JOB_SECRET'];
  const ended = await end([mpirun, ...options, ...pass, process.execPath, ring], {
    VIADUCT_RENDEZVOUS: address,
  });
  expectSum(t, [ended, { ...ended, stdout: '' }, { ...ended, stdout: '' }]);
});

t.test('what is wrong in the environment is told with the remedy', async (t) => {
  const right = { VIADUCT_RENDEZVOUS: '127.0.0.1:1', VIADUCT_RANK: '0', VIADUCT_SIZE: '2' };
  for (const [change, message] of [
    [{ VIADUCT_RENDEZVOUS: 'here' }, /VIADUCT_RENDEZVOUS=here is not HOST:PORT/],
    [{ VIADUCT_JOB_SECRET: 'short' }, /the job's secret is too short; .*openssl rand -hex 32/],
    [{ VIADUCT_SIZE: '0' }, /VIADUCT_RANK=0 and VIADUCT_SIZE=0 says which rank/],
    [{ VIADUCT_JOIN_SECONDS: 'x' }, /VIADUCT_JOIN_SECONDS=x is not a number of seconds/],
    [{ VIADUCT_RENDEZVOUS: '203.0.113.1:7000' }, /must be an address of the host where rank 0/],
    [
      { VIADUCT_RANK: '1', VIADUCT_JOIN_SECONDS: '1' },
      /rank 1 did not reach rank 0 at 127.0.0.1:1 within 1 s: .*ECONNREFUSED/,
    ],
  ] as const) {
    const ended = await end([process.execPath, ring], { ...right, ...change });
    t.match(ended.stderr, message);
    t.equal(ended.status, 1);
  }
});

t.test('strangers at the door of a job that starts keep nobody out', async (t) => {
  const address = await freeAddress();
  const port = Number(address.split(':')[1]);
  const env = { VIADUCT_RENDEZVOUS: address };
  const first = end([process.execPath, ring], { ...env, VIADUCT_RANK: '0', VIADUCT_SIZE: '2' });
  let greeted = 0;
  const knock = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('open, please\n'.repeat(50)));
      socket.on('data', () => greeted++);
      socket.on('error', () => {});
      socket.on('close', () => setTimeout(resolve, 5));
    });
  while (greeted < 20) await knock();
  const second = await end([process.execPath, ring], {
    ...env,
    VIADUCT_RANK: '1',
    VIADUCT_SIZE: '2',
  });
  expectSum(t, [await first, second]);
});
