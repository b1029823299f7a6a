/** `viaduct devices --counters`: what became of the packets of the processes that use the software HCA. */
import t from 'tap';

import { Launch, viaduct } from './launcher.js';

t.test('a process that waits for packets is listed with what it counted', async (t) => {
  // Waits for its peer, with a queue pair that is not connected yet.
  const port = 30_000 + (process.pid % 10_000);
  const program = ['ibv_rc_pingpong', '-g', '2', '-p', String(port)];
  const server = new Launch(t, ['exec', '--packets', '--', ...program]);
  t.teardown(() => server.child.kill());
  interface Counted {
    readonly name: string;
    readonly processes: readonly { pid: number; counters: Record<string, string> }[];
  }
  let counted: Counted | undefined;
  const started = Date.now();
  while ((counted?.processes.length ?? 0) === 0 && Date.now() - started < 20_000) {
    const ended = await viaduct(t, ['devices', '--counters', '--json', 'softhca0']);
    t.equal(ended.status, 0, ended.stderr);
    [counted] = JSON.parse(ended.stdout) as [Counted];
  }
  t.equal(counted?.name, 'softhca0');
  const [one] = counted?.processes ?? [];
  t.match(one?.counters, { packets_received: '0', dropped_icrc: '0', bytes_sent: '0' });
  const text = await viaduct(t, ['devices', '--counters', 'softhca0']);
  t.match(text.stdout, new RegExp(`process:\\s+${one?.pid}\n\t\tno packets`));
});
