/**
 * Jobs in which some process is killed at a random moment: they end, for that reason, and leave nothing. A few runs by
 * default; `npm run test:faults` makes 500.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { descendantsOf, programOf, viaduct } from '../command/launcher.js';
import { Lines } from '../lines.js';
import { seededRandom } from '../seeded-random.js';

const program = fileURLToPath(new URL('programs/chatter.js', import.meta.url));
const runs = Number(process.env['VIADUCT_TEST_FAULTS'] ?? 8);
const SIZE = 3;
/** Node.js has joined its job by then, most times. */
const LATEST_MS = 700;

/** Open descriptors of this process, by what they are. */
function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N')];
      } catch {
        // That of reading the folder.
        return [];
      }
    })
    .sort();
}

t.test(`${runs} jobs end when a process of theirs is killed at a random moment`, async (t) => {
  const random = seededRandom(t);
  // What Node.js opens once for all jobs.
  await runJob({ size: 1, command: 'true' });
  const descriptors = openDescriptors();
  const shared = readdirSync('/dev/shm');
  const hit = new Map<string, number>();
  for (let run = 0; run < runs; run++) {
    const delayMs = random.below(LATEST_MS);
    const choice = random.below(2 ** 30);
    const stderr = new Lines();
    let started = 0;
    let killed = '';
    const strike = async (): Promise<void> => {
      await sleep(delayMs);
      const tree = descendantsOf(process.pid);
      const victim = tree[choice % tree.length];
      killed = programOf(victim);
      process.kill(victim, 'SIGKILL');
    };
    let striking: Promise<void> | undefined;
    const { exitCode, failure } = await runJob({
      size: SIZE,
      command: process.execPath,
      args: [program],
      stdout: new Lines(),
      stderr,
      onEvent: ({ type }) => {
        if (type === 'started' && ++started === SIZE) striking = strike();
      },
    });
    await striking;
    hit.set(killed, (hit.get(killed) ?? 0) + 1);
    const moment = `run ${run}: ${killed} killed after ${delayMs} ms`;
    if (failure?.code !== 'ERR_RANK_SIGNAL' || exitCode !== 137) {
      t.fail(`${moment}: exit ${exitCode}, ${failure?.message}\n${stderr.text}`);
    }
    const left = descendantsOf(process.pid);
    if (left.length > 0) t.fail(`${moment}: ${left.map(programOf).join(', ')} left`);
  }
  t.strictSame(openDescriptors(), descriptors, 'no descriptor is left open');
  const isOurs = (name: string): boolean => /viaduct/.test(name) && !shared.includes(name);
  t.strictSame(readdirSync('/dev/shm').filter(isOurs), []);
  t.comment(`killed: ${[...hit].map(([name, count]) => `${name} ${count}`).join(', ')}`);
});

t.test('a job for whose memory there is no room is refused with the reason', async (t) => {
  const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));
  const job = [process.execPath, main, 'run', '-n', '2', '--', 'true'];
  const limited = ['prlimit', `--fsize=${1 << 20}`, ...job];
  const ended = await viaduct(t, ['run', '-n', '1', '--', ...limited]);
  t.match(ended.stderr, /\[0\] viaduct run: Aperture.create: /);
  t.equal(ended.status, 1);
});
