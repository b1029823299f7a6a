/** `viaduct vm exec`: a command in a machine, with this process's streams and signals. */
import { constants } from 'node:os';

import { NamedMachine } from '../../vm/index.js';
import { parseCommandLine } from '../command-line.js';
import { UsageError } from '../usage-error.js';
import { parseSeconds } from './options.js';

const OPTIONS = {
  env: { type: 'string' },
  cwd: { type: 'string' },
  timeout: { type: 'string' },
} as const;

const FORWARDED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

export async function exec(args: readonly string[]): Promise<number> {
  // The name may stand before the options or behind them.
  const before = !args[0]?.startsWith('-') ? args.slice(0, 1) : [];
  const { values, program } = parseCommandLine(args.slice(before.length), OPTIONS);
  const [name, command, ...rest] = [...before, ...program];
  if (name === undefined || command === undefined) {
    throw new UsageError('it takes the name of a machine and a command, as in web -- uname -r');
  }
  const { env, cwd, timeout } = values;
  const separator = String(env).indexOf('=');
  if (env !== undefined && separator < 1) {
    throw new UsageError(`--env is NAME=VALUE, not '${String(env)}'`);
  }
  const machine = await NamedMachine.open(name);
  const { exitCode, signal } = await machine.exec(
    {
      command,
      args: rest,
      ...(typeof env === 'string'
        ? { env: { [env.slice(0, separator)]: env.slice(separator + 1) } }
        : {}),
      ...(typeof cwd === 'string' ? { cwd } : {}),
      ...(timeout === undefined ? {} : { timeoutMs: parseSeconds('--timeout', timeout) }),
    },
    {
      stdin: process.stdin,
      onStdout: (chunk) => process.stdout.write(chunk),
      onStderr: (chunk) => process.stderr.write(chunk),
      signals: (forward) => {
        for (const each of FORWARDED) process.on(each, forward);
      },
    },
  );
  process.stdin.destroy();
  return signal === null ? (exitCode ?? 1) : 128 + constants.signals[signal];
}
