/** `viaduct exec`: runs an unmodified program of the verbs API over the software HCA. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import { builtExecutable, packageRoot } from '../addon/index.js';
import { ViaductError } from '../errors.js';
import { exitStatusOf, resolveProgram } from '../job/index.js';
import { softwareHcaPath } from '../verbs/index.js';
import { type CommandLine, parseCommandLine } from './command-line.js';
import { help } from './exec-help.js';
import { UsageError } from './usage-error.js';

const OPTIONS = {
  remap: { type: 'boolean' },
  roce: { type: 'boolean' },
  packets: { type: 'boolean' },
  pcap: { type: 'string' },
  faults: { type: 'string' },
  rings: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR2',
  'SIGCONT',
];

function environment(values: CommandLine['values']): NodeJS.ProcessEnv {
  const { remap, roce, packets, pcap, faults, rings } = values;
  const library = softwareHcaPath();
  if (!existsSync(library)) {
    throw new ViaductError(
      'ERR_ADDON',
      `the software HCA was not built: there is no ${library}; build it with \`npm rebuild viaduct\``,
      { call: 'viaduct exec', operands: { packageRoot } },
    );
  }
  const already = process.env['LD_PRELOAD'] ?? '';
  return {
    ...process.env,
    // It says on stderr what an errno value can't.
    VIADUCT_EXPLAIN: '1',
    LD_PRELOAD: already === '' ? library : `${already}:${library}`,
    ...(remap === true ? { VIADUCT_REMAP: '1' } : {}),
    // Packets are of RoCE.
    ...(roce === true || packets === true ? { VIADUCT_LINK_LAYER: 'ethernet' } : {}),
    ...(packets === true ? { VIADUCT_PACKETS: '1' } : {}),
    ...(typeof pcap === 'string' ? { VIADUCT_PCAP: resolve(pcap) } : {}),
    ...(typeof rings === 'string' ? { VIADUCT_PACKET_RINGS: resolve(rings) } : {}),
    ...(typeof faults === 'string' ? { VIADUCT_FAULTS: faults } : {}),
  };
}

/** Runs the command; resolves to its exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const { values, program } = parseCommandLine(args, OPTIONS);
  if (values['help'] === true) {
    process.stdout.write(help);
    return 0;
  }
  const command = program.at(0);
  if (command === undefined || command === '') {
    throw new UsageError('name the program to run, as in -- ibv_devinfo');
  }
  const path = resolveProgram(command, process.cwd(), process.env['PATH'] ?? '', 'viaduct exec');
  const env = environment(values);

  // The guard puts the program in its own place, to be killed when this process is; it is linked
  // statically, so what is preloaded is the program's alone.
  const guard = ['--parent', String(process.pid), '--', path, ...program.slice(1)];
  // Before the program can say that it runs.
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  const child = spawn(builtExecutable('viaduct-guard'), guard, { env, stdio: 'inherit' });
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  for (const name of FORWARDED) process.off(name, forward);
  return signal === null ? (status ?? 1) : exitStatusOf(signal);
}
