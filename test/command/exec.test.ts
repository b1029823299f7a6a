/** `viaduct exec`: programs of rdma-core over the software HCA, and how the command ends. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { allGone, descendantsOf, Launch, pidsIn, PRINT_PID, shell, viaduct } from './launcher.js';

t.test('ibv_devinfo lists the software HCA', async (t) => {
  const ended = await viaduct(t, ['exec', '--', 'ibv_devinfo']);
  t.equal(ended.status, 0, ended.stderr);
  t.match(ended.stdout, /hca_id:\s+softhca0/);
});

let port = 20_000 + (process.pid % 10_000);
for (const remap of [[], ['--remap']]) {
  for (const events of [[], ['-e']]) {
    const words = [...remap, '--', 'ibv_rc_pingpong', ...events];
    t.test(`two processes run ${words.join(' ')} with each other`, async (t) => {
      port += 1;
      const line = ['exec', ...words, '-p', String(port), '-n', '200'];
      const server = new Launch(t, line);
      // What it prints stays in its buffer, so a client that is too early is refused, and again.
      let client = await viaduct(t, [...line, 'localhost']);
      for (let tries = 0; tries < 50 && /Couldn't connect/.test(client.stderr); tries += 1) {
        client = await viaduct(t, [...line, 'localhost']);
      }
      t.equal(client.status, 0, client.stdout + client.stderr);
      const ended = await server.ended;
      t.equal(ended.status, 0, ended.stdout + ended.stderr);
    });
  }
}

for (const [args, message, status] of [
  [['--bogus', '--', 'true'], /unknown option --bogus; see viaduct exec --help/, 2],
  [[], /name the program/, 2],
  [['--', 'no-such-program'], /no program 'no-such-program' in PATH/, 127],
] as const) {
  t.test(`viaduct exec ${args.join(' ')} says what is wrong in one line`, async (t) => {
    const ended = await viaduct(t, ['exec', ...args]);
    t.match(ended.stderr, message);
    t.match(ended.stderr, /^viaduct[^\n]*\n$/);
    t.equal(ended.status, status);
  });
}

t.test('help shows an example and succeeds', async (t) => {
  const ended = await viaduct(t, ['exec', '--help']);
  t.match(ended.stdout, 'viaduct exec -- ibv_rc_pingpong localhost');
  t.equal(ended.status, 0);
});

t.test('the library goes after what LD_PRELOAD names, and --remap is told', async (t) => {
  const script = 'echo "$LD_PRELOAD $VIADUCT_REMAP"';
  const env = { LD_PRELOAD: 'libc.so.6' };
  const ended = await viaduct(t, ['exec', '--remap', ...shell(script)], { env });
  t.match(ended.stdout, /^libc\.so\.6:\/.*\/libviaduct-softhca\.so 1\n$/);
});

t.test('options of packets reach the program', async (t) => {
  const script = 'echo "$VIADUCT_LINK_LAYER $VIADUCT_PACKETS $VIADUCT_PCAP $VIADUCT_FAULTS"';
  const options = ['--packets', '--pcap', '/tmp/%p.pcapng', '--faults', 'loss=0.1'];
  const ended = await viaduct(t, ['exec', ...options, ...shell(script)]);
  t.equal(ended.stdout, 'ethernet 1 /tmp/%p.pcapng loss=0.1\n', ended.stderr);
});

t.test('two processes of one host meet by packets, which a capture file has', async (t) => {
  const folder = t.testdir();
  port += 1;
  const options = ['--packets', '--pcap', join(folder, '%p.pcapng')];
  // The first address is behind the two GIDs that mean the host.
  const program = ['ibv_rc_pingpong', '-g', '2', '-p', String(port), '-n', '200'];
  const line = ['exec', ...options, '--', ...program];
  const server = new Launch(t, line);
  let client = await viaduct(t, [...line, 'localhost']);
  for (let tries = 0; tries < 50 && /Couldn't connect/.test(client.stderr); tries += 1) {
    client = await viaduct(t, [...line, 'localhost']);
  }
  t.equal(client.status, 0, client.stdout + client.stderr);
  const ended = await server.ended;
  t.equal(ended.status, 0, ended.stdout + ended.stderr);
  const captures = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  t.equal(captures.filter((capture) => capture.length > 200 * 4096).length, 2);
  t.ok(captures.every((capture) => capture.readUInt32LE(0) === 0x0a0d0d0a));
});

t.test('two processes meet through rings of packets in a file that both map', async (t) => {
  const file = join(t.testdir(), 'rings');
  writeFileSync(file, '');
  truncateSync(file, 2 ** 20);
  port += 1;
  // The GID that each has in the rings is behind the two that mean the host.
  const program = ['ibv_rc_pingpong', '-g', '2', '-p', String(port), '-n', '200', '-c'];
  const line = ['exec', '--rings', file, '--', ...program];
  const server = new Launch(t, line);
  let client = await viaduct(t, [...line, 'localhost']);
  for (let tries = 0; tries < 50 && /Couldn't connect/.test(client.stderr); tries += 1) {
    client = await viaduct(t, [...line, 'localhost']);
  }
  t.equal(client.status, 0, client.stdout + client.stderr);
  const ended = await server.ended;
  t.equal(ended.status, 0, ended.stdout + ended.stderr);
  t.match(client.stdout, /200 iters/);
});

t.test('rings of packets that can not be used are refused with what to do', async (t) => {
  const folder = t.testdir({ small: '', other: 'x'.repeat(2 ** 20) });
  truncateSync(join(folder, 'small'), 4096);
  for (const [name, problem] of [
    ['none', /can't be used: there is no such file; make it with `truncate/],
    ['small', /has 4096 bytes for rings of packets; for two participants \d+ are needed/],
    ['other', /has no rings of packets, or those of another version/],
    ['other@0+2097152', /can't be used: it has 1048576 bytes/],
  ] as const) {
    const line = ['exec', '--rings', join(folder, name), '--', 'ibv_devinfo'];
    const ended = await viaduct(t, line);
    t.match(ended.stderr, problem);
    t.not(ended.status, 0);
  }
});

t.test('faults that can not be understood are named', async (t) => {
  const ended = await viaduct(t, ['exec', '--faults', 'los=1', '--', 'ibv_devinfo']);
  t.match(ended.stderr, "viaduct: 'los=1' can't be understood: VIADUCT_FAULTS is a list such as");
  t.not(ended.status, 0);
});

t.test('--roce makes the port one of RoCE', async (t) => {
  const ended = await viaduct(t, ['exec', '--roce', '--', 'ibv_devinfo']);
  t.match(ended.stdout, /link_layer:\s+Ethernet/, ended.stderr);
  t.match(ended.stdout, /port_lid:\s+0\n/);
});

t.test("the status is the program's", async (t) => {
  t.equal((await viaduct(t, ['exec', ...shell('exit 7')])).status, 7);
  t.equal((await viaduct(t, ['exec', ...shell('kill -KILL $$')])).status, 137);
});

t.test('a signal reaches the program', async (t) => {
  const script = 'trap "exit 9" TERM; echo ready; while true; do sleep 0.05; done';
  const launch = new Launch(t, ['exec', ...shell(script)]);
  await launch.shown(/ready/g, 1);
  launch.child.kill('SIGTERM');
  t.equal((await launch.ended).status, 9);
});

t.test('the program ends with a command that is killed', async (t) => {
  const launch = new Launch(t, ['exec', ...shell(`${PRINT_PID} exec sleep 1000`)]);
  await launch.shown(/pid (\d+)\n/g, 1);
  const pids = [...pidsIn(launch.stdout), ...descendantsOf(launch.pid)];
  launch.child.kill('SIGKILL');
  await allGone(pids);
});
