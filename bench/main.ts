#!/usr/bin/env node
/** The benchmarks' command: measures, prints the tables and writes the files that were asked for. */
import { mkdir, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';

import { describeMachine, viaductVersion } from './machine.js';
import type { Machine } from './machine.js';
import { measureAll } from './measure.js';
import type { Sampled } from './measurement.js';
import { UsageError, help, parseOptions } from './options.js';
import type { Options } from './options.js';
import { findPeers } from './peers/peer.js';
import { runRegcacheBenchmark } from './regcache/main.js';
import { renderReport } from './report/report.js';
import { runRxeBenchmark } from './rxe/main.js';
import { summarise } from './statistics.js';
import { formatAims, formatTable } from './table.js';
import { runStartupBenchmark } from './startup/main.js';
import { runVerbsBenchmark } from './verbs/main.js';
import { runVmBenchmark } from './vm/main.js';
import { runWireBenchmark } from './wire/main.js';

/** Benchmarks with options of their own, by the word that names them. */
const others: Readonly<
  Record<string, (args: readonly string[], signal: AbortSignal) => Promise<void>>
> = {
  regcache: runRegcacheBenchmark,
  rxe: runRxeBenchmark,
  verbs: runVerbsBenchmark,
  vm: runVmBenchmark,
  wire: runWireBenchmark,
};

/** The run was ended by a signal. */
class EndedBySignal extends Error {
  constructor(readonly signalName: NodeJS.Signals) {
    super(`ended by ${signalName}`);
  }
}

/** Above this load average, others use the cores that the ranks are bound to. */
const busyLoad = 0.5;

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function writeReport(
  folder: string,
  options: Options,
  sampled: readonly Sampled[],
  machine: Machine,
): Promise<void> {
  for (const benchmark of options.benchmarks) {
    const measurements = summarise(sampled.filter((one) => one.benchmark === benchmark));
    await writeFile(join(folder, `${benchmark}.json`), json(measurements));
  }
  await writeFile(join(folder, 'machine.json'), json(machine));
  const report = join(folder, 'report.html');
  await writeFile(report, renderReport(sampled, machine, options));
  process.stderr.write(`Report: ${report}\n`);
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  // A file that can't be written should not be found out after minutes of measuring.
  if (options.json !== undefined) await writeFile(options.json, '[]\n');
  if (options.report !== undefined) await mkdir(options.report, { recursive: true });

  const { peers, missing } = options.peers ? await findPeers() : { peers: [], missing: [] };
  for (const sentence of missing) process.stderr.write(`${sentence}\n`);
  const machine = await describeMachine(peers.map((peer) => peer.name));
  if (machine.loadBefore > busyLoad) {
    process.stderr.write(
      `This machine is busy (load ${machine.loadBefore.toFixed(1)}): ranks that wait for a core make figures and ratios unsteady\n`,
    );
  }

  const sampled = await measureAll({
    options,
    peers,
    viaductVersion: await viaductVersion(),
    progress: process.stderr,
    signal,
  });

  for (const benchmark of options.benchmarks) {
    process.stdout.write(`${formatTable(sampled, benchmark)}\n`);
  }
  process.stdout.write(formatAims(sampled));
  if (options.json !== undefined) await writeFile(options.json, json(summarise(sampled)));
  if (options.report !== undefined) await writeReport(options.report, options, sampled, machine);
}

async function main(args: readonly string[]): Promise<number> {
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => ending.abort(new EndedBySignal(name)));
  }
  try {
    const other = others[args[0] ?? ''];
    if (other !== undefined) {
      await other(args.slice(1), ending.signal);
      return 0;
    }
    if (args[0] === 'startup') {
      await runStartupBenchmark(args.slice(1), ending.signal);
      return 0;
    }
    const options = parseOptions(args);
    if (options === 'help') process.stdout.write(help);
    else await run(options, ending.signal);
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    if (error instanceof UsageError) return 2;
    if (error instanceof EndedBySignal) return 128 + constants.signals[error.signalName];
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
