/** A network that is cut between ranks that met by TCP, for a moment or for good. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t, { type Test } from 'tap';

import { lackingTwoHosts, openTwoHosts, type TwoHosts } from '../../../bench/wire/two-hosts.js';

const program = fileURLToPath(new URL('link-end.js', import.meta.url));
const lacking = (await lackingTwoHosts()) ?? false;

/** A rank alone on its host, which says what it hears and obeys lines of text. */
function startRank(t: Test, hosts: TwoHosts, rank: 0 | 1, silenceMs: number) {
  const [command = '', ...prefix] = hosts.prefixes[rank];
  const args = [
    ...prefix,
    process.execPath,
    program,
    `${rank}`,
    hosts.addresses[0],
    `${silenceMs}`,
  ];
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => (text += more));
  return {
    say: (line: string) => child.stdin.write(`${line}\n`),
    heard: async (pattern: RegExp) => {
      while (!pattern.test(text)) await once(child.stdout, 'data');
      return text;
    },
    text: () => text,
  };
}

async function startBoth(t: Test, silenceMs: number) {
  const hosts = await openTwoHosts();
  t.teardown(() => hosts.close());
  const ranks = ([0, 1] as const).map((rank) => startRank(t, hosts, rank, silenceMs));
  for (const { heard } of ranks) await heard(/joined/);
  const link = (state: 'up' | 'down'): void => {
    const [command = '', ...prefix] = hosts.prefixes[1];
    execFileSync(command, [...prefix, 'ip', 'link', 'set', 'wire0', state]);
  };
  return { ranks, link };
}

t.test('a network that comes back in time has cost nothing', { skip: lacking }, async (t) => {
  const { ranks, link } = await startBoth(t, 20_000);
  link('down');
  for (const { say } of ranks) say('bring word');
  await sleep(1000);
  for (const { text } of ranks) t.equal(text(), 'joined\n', 'nothing comes through');
  link('up');
  for (const { heard } of ranks) t.equal(await heard(/brought/), 'joined\nbrought word word\n');
});

t.test(
  'one that does not is a failure of the others, on both sides',
  { skip: lacking },
  async (t) => {
    const { ranks, link } = await startBoth(t, 1000);
    link('down');
    const [first, second] = ranks;
    t.match(
      await first.heard(/failed/),
      /failed 1 was not heard of for 1 s: .* the network is cut/,
    );
    t.match(await second.heard(/lost/), /lost it was silent for 1 s: .* the network is cut/);
  },
);
