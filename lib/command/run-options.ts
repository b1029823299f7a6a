/** The options of `viaduct run`. */
import type { RankDriver } from '../cluster/index.js';
import type { JobOptions } from '../job/index.js';
import { parseCommandLine } from './command-line.js';
import { UsageError } from './usage-error.js';

const OPTIONS = {
  ranks: { type: 'string', short: 'n' },
  vm: { type: 'string' },
  network: { type: 'boolean' },
  bind: { type: 'string' },
  label: { type: 'boolean' },
  timeout: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** `--vm` alone asks for the driver that needs nothing of the machine. */
const DEFAULTS = { '--vm': 'uml' };

type OptionValue = string | boolean | undefined;

/** What the user asked for. */
export interface RunOptions {
  readonly job: Pick<JobOptions, 'command' | 'args' | 'size' | 'bind' | 'label' | 'timeoutMs'>;
  /** The drivers of the ranks' virtual machines, in turn; undefined runs all ranks on this host. */
  readonly vm: readonly RankDriver[] | undefined;
  readonly network: boolean;
}

function wrong(option: string, wanted: string, given: OptionValue): UsageError {
  return new UsageError(`${option} must be ${wanted}, not '${String(given)}'`);
}

function parseRanks(value: OptionValue): number {
  if (value === undefined) throw new UsageError('say how many ranks to start, as in -n 2');
  const ranks = Number(value);
  if (!/^[0-9]+$/.test(String(value)) || !Number.isSafeInteger(ranks) || ranks < 1) {
    throw wrong('-n', 'a whole number of at least 1', value);
  }
  return ranks;
}

function parseTimeout(value: OptionValue): { timeoutMs?: number } {
  if (value === undefined) return {};
  const timeoutMs = Number(value) * 1000;
  if (String(value).trim() === '' || !(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw wrong('--timeout', 'a number of seconds above 0 and below 2147483', value);
  }
  return { timeoutMs };
}

const isRankDriver = (name: string): name is RankDriver => ['uml', 'qemu', 'host'].includes(name);

function parseVm(value: OptionValue): RankDriver[] | undefined {
  if (value === undefined) return undefined;
  const names = String(value).split(',');
  if (names.every(isRankDriver)) return names;
  throw wrong('--vm', 'uml, qemu, or a list such as uml,qemu,host', value);
}

/**
 * Reads the arguments after `viaduct run`.
 *
 * @throws UsageError
 */
export function parseRunOptions(args: readonly string[]): RunOptions | 'help' {
  const { values, program } = parseCommandLine(args, OPTIONS, DEFAULTS);
  if (values['help'] === true) return 'help';
  const size = parseRanks(values['ranks']);
  const vm = parseVm(values['vm']);
  const { bind = 'core' } = values;
  if (bind !== 'core' && bind !== 'none') throw wrong('--bind', 'core or none', bind);
  const timeout = parseTimeout(values['timeout']);
  const command = program.at(0);
  if (command === undefined || command === '') {
    throw new UsageError('name the program to run, as in -n 2 -- node app.js');
  }
  return {
    job: {
      command,
      args: program.slice(1),
      size,
      bind,
      label: values['label'] !== false,
      ...timeout,
    },
    vm,
    network: values['network'] === true,
  };
}
