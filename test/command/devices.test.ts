/** `viaduct devices`: the list of devices, for people and for programs. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { viaduct } from './launcher.js';

const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));

t.test('the software HCA is listed with what ibv_devinfo shows of it', async (t) => {
  const ended = await viaduct(t, ['devices', '--provider', 'softhca']);
  t.equal(ended.status, 0, ended.stderr);
  t.match(ended.stdout, /^hca_id:\s+softhca0\n/);
  for (const line of [
    /state:\s+ACTIVE/,
    /maxQp:\s+\d+/,
    /gid\[0\]:\s+fe80:/,
    /capabilities:.*xrc/,
  ]) {
    t.match(ended.stdout, line);
  }
});

t.test('JSON has the same for programs, and agrees with ibv_devinfo', async (t) => {
  const ended = await viaduct(t, ['devices', '--json', 'softhca0']);
  const [device] = JSON.parse(ended.stdout) as [
    {
      name: string;
      guid: string;
      attributes: { maxQp: number; maxCqe: number; maxMrSize: string };
    },
  ];
  t.equal(device.name, 'softhca0');
  if (spawnSync('ibv_devinfo', ['--help']).error !== undefined) {
    t.comment('no comparison: ibv_devinfo is not installed (Debian: ibverbs-utils)');
    return;
  }
  const theirs = await viaduct(t, ['exec', '--', 'ibv_devinfo', '-v', '-d', 'softhca0']);
  const value = (name: string): string | undefined =>
    new RegExp(`${name}:\\s+(\\S+)`).exec(theirs.stdout)?.[1];
  t.equal(value('node_guid'), device.guid);
  t.equal(value('max_qp'), String(device.attributes.maxQp));
  t.equal(value('max_cqe'), String(device.attributes.maxCqe));
  t.equal(value('max_mr_size'), `0x${BigInt(device.attributes.maxMrSize).toString(16)}`);
});

for (const [args, message, status] of [
  [['nosuch0'], /there is no device 'nosuch0'; there are: .*softhca0/, 1],
  [['--provider', 'other'], /--provider is system or softhca, not 'other'; see/, 2],
  [['--bogus'], /Unknown option '--bogus'; see viaduct devices --help/, 2],
] as const) {
  t.test(`viaduct devices ${args.join(' ')} says what is wrong in one line`, async (t) => {
    const ended = await viaduct(t, ['devices', ...args]);
    t.match(ended.stderr, message);
    t.match(ended.stderr, /^viaduct[^\n]*\n$/);
    t.equal(ended.status, status);
  });
}

t.test('help shows an example and succeeds', async (t) => {
  const ended = await viaduct(t, ['devices', '--help']);
  t.match(ended.stdout, 'viaduct devices --json');
  t.equal(ended.status, 0);
});

t.test('a command whose reader has seen enough ends quietly', (t) => {
  for (const words of ['devices', 'devices --json', '--help', 'run --help', 'vm list --json']) {
    const script = `"$0" "$1" ${words} | :; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script, process.execPath, main], {
      encoding: 'utf8',
    });
    t.equal(stderr, '', words);
    // What was written before the reader was gone is written; then the status is 0.
    t.match(stdout, /^(141|0)\n$/, words);
  }
  t.end();
});
