/** `npm run bench -- wire`: RoCEv2 packets between two hosts beside TCP and UDP over the same network. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { packageRoot } from '../../lib/addon/index.js';
import { compileProgram } from '../compile.js';
import { describeMachine } from '../machine.js';
import { integer, parseWords } from '../options.js';
import { runLines } from '../process-lines.js';
import { type Figures, type Row, tableLine } from '../rounds.js';
import { median } from '../statistics.js';
import { perftestMissing, runPerftest } from '../verbs/perftest.js';
import { lackingTwoHosts, openTwoHosts, type TwoHosts } from './two-hosts.js';

const execute = promisify(execFile);

export const wireHelp = `Measures the software HCA on the wire: perftest's programs by RoCEv2 between two network namespaces,
beside one TCP stream of iperf3 and UDP in C over the same pair of virtual interfaces. Both sides have a processor each.
UDP in C polls its socket on both sides, as perftest polls; it neither acknowledges nor checks nor sends again. Latencies
are one way, means of the middle half of the exchanges; UDP's is measured before and after perftest's.

Usage: npm run -s bench -- wire [options]

Options:
  --rounds N       every subject once in each; ratios are taken within a round (default: 5)
  --json FILE      write the machine, the rounds, their figures, and what the programs printed
  --help           this text

It needs root for the namespaces, and Debian's packages perftest, iperf3 and iproute2.
`;

const ROWS: readonly Row[] = [
  {
    what: 'ib_write_bw 1 MiB',
    unit: 'MB/s',
    figure: 'writeBandwidth',
    beside: { what: 'one TCP stream', figure: 'tcp' },
    aim: { kind: 'ratio', text: '≥ 0.8' },
  },
  {
    what: 'ib_write_lat 8 B',
    unit: 'µs',
    figure: 'writeLatency',
    beside: { what: 'UDP in C', figure: 'udpLatency' },
    aim: { kind: 'ratio', text: '≤ 1.3' },
  },
  {
    what: 'ib_send_lat 8 B',
    unit: 'µs',
    figure: 'sendLatency',
    beside: { what: 'UDP in C', figure: 'udpLatency' },
    aim: { kind: 'ratio', text: '≤ 1.3' },
  },
  {
    what: 'ib_write_bw 8 B',
    unit: 'k/s',
    figure: 'writeRate',
    beside: { what: 'UDP in C', figure: 'udpRate' },
  },
  {
    what: 'ib_send_bw 8 B',
    unit: 'k/s',
    figure: 'sendRate',
    beside: { what: 'UDP in C', figure: 'udpRate' },
  },
  {
    what: 'ib_send_lat, round trips',
    unit: 'k/s',
    figure: 'sendRoundTrips',
    beside: { what: 'UDP in C', figure: 'udpRoundTrips' },
  },
];

const PORT = '24791';
const SAMPLES = 5;

/** Both sides of a C program or of iperf3, each on its host and processor; the server's lines, then the client's. */
async function runBoth(
  hosts: TwoHosts,
  what: string,
  server: readonly string[],
  client: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  const lines: string[] = [];
  const side = (which: 0 | 1, words: readonly string[]): Promise<void> => {
    const [command = '', ...rest] = [
      ...hosts.prefixes[which],
      ...['taskset', '-c', String(which)],
      ...words,
    ];
    return runLines(what, command, rest, { signal, onLine: (line) => void lines.push(line) });
  };
  const served = side(0, server);
  // None of these says when it listens.
  await Promise.all([served, sleep(300).then(() => side(1, client))]);
  return lines;
}

/** What one round measured, and the numbers that the programs printed: each row one line of one of them. */
interface Round {
  readonly figures: Figures;
  readonly raw: Record<string, unknown>;
}

type UdpSample = Record<string, number>;

async function measurePing(
  hosts: TwoHosts,
  udp: string,
  signal: AbortSignal,
): Promise<UdpSample[]> {
  const at = [hosts.addresses[0], PORT];
  const lines = await runBoth(
    hosts,
    'udp',
    [udp, 'echo', ...at],
    [udp, 'ping', ...at, '20000', String(SAMPLES)],
    signal,
  );
  return lines.map((line) => JSON.parse(line) as UdpSample);
}

async function measureStream(
  hosts: TwoHosts,
  udp: string,
  signal: AbortSignal,
): Promise<UdpSample[]> {
  const at = [hosts.addresses[0], PORT];
  const lines = await runBoth(
    hosts,
    'udp',
    [udp, 'sink', ...at, String(SAMPLES)],
    [udp, 'stream', ...at, '200000', String(SAMPLES)],
    signal,
  );
  return lines.map((line) => JSON.parse(line) as UdpSample);
}

const medianOf = (samples: readonly UdpSample[], name: string): number =>
  median(samples.map((sample) => sample[name] ?? NaN));

interface IperfReport {
  readonly end: { readonly sum_received: { readonly bits_per_second: number } };
}

/** @returns MB/s of 10^6 bytes that the receiver got */
async function measureTcp(hosts: TwoHosts, signal: AbortSignal): Promise<number> {
  const lines = await runBoth(
    hosts,
    'iperf3',
    ['iperf3', '--server', '--one-off', '--port', PORT, '--logfile', '/dev/null'],
    ['iperf3', '--client', hosts.addresses[0], '--port', PORT, '--time', '3', '--json'],
    signal,
  );
  const report = JSON.parse(lines.join('\n')) as IperfReport;
  return report.end.sum_received.bits_per_second / 8e6;
}

interface ListedDevice {
  readonly ports: readonly { readonly gids: readonly { gid: string; gidIndex: number }[] }[];
}

/** Where the host's IPv4 address is in the table of GIDs. */
async function gidIndexOf(hosts: TwoHosts): Promise<number> {
  const command = `${packageRoot}/dist/lib/command/main.js`;
  const [program = '', ...rest] = [...hosts.prefixes[0], process.execPath, command] as string[];
  const { stdout } = await execute(
    program,
    [...rest, 'devices', '--provider', 'softhca', '--json'],
    {
      env: { ...process.env, VIADUCT_LINK_LAYER: 'ethernet' },
    },
  );
  const devices = JSON.parse(stdout) as ListedDevice[];
  const gids = devices.flatMap(({ ports }) => ports.flatMap((port) => port.gids));
  const found = gids.find(({ gid }) => gid.startsWith('0000:0000:0000:0000:0000:ffff:'));
  if (found === undefined) throw new Error(`the software HCA shows no IPv4 address: ${stdout}`);
  return found.gidIndex;
}

async function measureRound(hosts: TwoHosts, udp: string, signal: AbortSignal): Promise<Round> {
  const apart = {
    server: hosts.prefixes[0],
    client: hosts.prefixes[1],
    address: hosts.addresses[0],
    gidIndex: await gidIndexOf(hosts),
  };
  const run = { remap: false, apart } as const;
  const latency = { ...run, sizeBytes: 8, iterations: 30_000 };
  const rate = { ...run, sizeBytes: 8, iterations: 300_000 };
  const tcp = await measureTcp(hosts, signal);
  const large = await runPerftest(
    { ...run, program: 'ib_write_bw', sizeBytes: 2 ** 20, iterations: 5_000 },
    signal,
  );
  const before = await measurePing(hosts, udp, signal);
  const write = await runPerftest({ ...latency, program: 'ib_write_lat' }, signal);
  const send = await runPerftest({ ...latency, program: 'ib_send_lat' }, signal);
  const pings = [...before, ...(await measurePing(hosts, udp, signal))];
  const writes = await runPerftest({ ...rate, program: 'ib_write_bw' }, signal);
  const sends = await runPerftest({ ...rate, program: 'ib_send_bw' }, signal);
  const streams = await measureStream(hosts, udp, signal);
  const udpLatency = medianOf(pings, 'latency') / 1e3;
  return {
    figures: {
      tcp,
      writeBandwidth: large.figure,
      writeLatency: write.figure,
      sendLatency: send.figure,
      sendRoundTrips: 1e3 / (2 * send.figure),
      writeRate: writes.rate / 1e3,
      sendRate: sends.rate / 1e3,
      udpLatency,
      udpRoundTrips: 1e3 / (2 * udpLatency),
      udpRate: medianOf(streams, 'rate') / 1e3,
    },
    raw: {
      'ib_write_bw 1 MiB': large.columns,
      'ib_write_lat 8 B': write.columns,
      'ib_send_lat 8 B': send.columns,
      'ib_write_bw 8 B': writes.columns,
      'ib_send_bw 8 B': sends.columns,
      'udp ping': pings,
      'udp stream': streams,
    },
  };
}

async function missingPrograms(): Promise<string | undefined> {
  if (perftestMissing()) return 'perftest is missing; apt-get install perftest';
  try {
    await execute('iperf3', ['--version']);
  } catch {
    return 'iperf3 is missing; apt-get install iperf3';
  }
  return lackingTwoHosts();
}

/** @throws UsageError, or the failure of a program that it runs */
export async function runWireBenchmark(
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { values } = parseWords({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(wireHelp);
    return;
  }
  const rounds = integer('--rounds', values.rounds, 1, 100);
  const missing = await missingPrograms();
  if (missing !== undefined) throw new Error(missing);
  const udp = await compileProgram('wire', 'udp');
  const measured: Round[] = [];
  const hosts = await openTwoHosts();
  try {
    for (let round = 0; round < rounds; round++) {
      process.stderr.write(`round ${round + 1} of ${rounds}\n`);
      measured.push(await measureRound(hosts, udp, signal));
    }
  } finally {
    await hosts.close();
  }
  const figures = measured.map((round) => round.figures);
  for (const row of ROWS) process.stdout.write(tableLine(row, figures));
  if (values.json !== undefined) {
    const machine = await describeMachine([]);
    await writeFile(values.json, `${JSON.stringify({ machine, rounds: measured }, null, 2)}\n`);
  }
}
