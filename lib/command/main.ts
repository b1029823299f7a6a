#!/usr/bin/env node
/** The command `viaduct`: finds the subcommand, runs it, and turns errors into one line each. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { packageRoot } from '../addon/index.js';
import { ViaductError } from '../errors.js';
import { endWithReader } from './broken-pipe.js';
import { UsageError } from './usage-error.js';

/** One subcommand. */
interface Subcommand {
  /** Resolves to the exit status. */
  run(args: readonly string[]): Promise<number>;
}

const subcommands: Readonly<Record<string, () => Promise<Subcommand>>> = {
  devices: () => import('./devices.js'),
  exec: () => import('./exec.js'),
  run: () => import('./run.js'),
  vm: () => import('./vm.js'),
};

const help = `Usage: viaduct COMMAND [OPTION...]

High-performance computing in virtual machines, for Node.js.

Commands:
  devices     list the devices of all providers of verbs
  exec        run a verbs program over the software HCA
  run         start the ranks of a job, on this host or in virtual machines
  vm          boot virtual machines in the background, and use them

Options:
  -h, --help  show this help; viaduct COMMAND --help shows a command's
  --version   show the version

Example:
  viaduct run -n 2 -- node app.js

Exit status: 0 done, 1 failed, 2 wrong usage, 128 + n ended by signal n;
viaduct run ends with the status of its job, viaduct exec with its program's.
`;

function version(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

async function dispatch(words: readonly string[]): Promise<number> {
  const name = words.at(0);
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help);
    return 0;
  }
  if (name === '--version') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (name === undefined) throw new UsageError('name a command, such as run');
  const load = Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (load === undefined) {
    const what = name.startsWith('-') ? 'option' : 'command';
    throw new UsageError(`unknown ${what} ${name}`);
  }
  const subcommand = await load();
  try {
    return await subcommand.run(words.slice(1));
  } catch (error) {
    if (!(error instanceof ViaductError)) throw error;
    return explain(`viaduct ${name}`, error);
  }
}

/** Tells the user of an error; the exit status that it gives. */
function explain(command: string, error: ViaductError): number {
  const usage = error instanceof UsageError;
  const remedy = usage ? `; see ${command} --help` : '';
  process.stderr.write(`${command}: ${error.message}${remedy}\n`);
  if (usage) return 2;
  // The statuses of a shell for a program that is not there, or is none.
  if (error.code === 'ERR_JOB_PROGRAM') return 127;
  return error.code === 'ERR_JOB_NOT_EXECUTABLE' ? 126 : 1;
}

endWithReader(true);
try {
  process.exitCode = await dispatch(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ViaductError)) throw error;
  process.exitCode = explain('viaduct', error);
}
