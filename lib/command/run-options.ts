/** The options of `viaduct run`. */
import type { RankDriver } from '../cluster/index.js';
import type { JobOptions } from '../job/index.js';
import { parseCommandLine } from './command-line.js';
import { ranksOfHosts } from './hosts-file.js';
import { UsageError } from './usage-error.js';

const OPTIONS = {
  ranks: { type: 'string', short: 'n' },
  hosts: { type: 'string' },
  vm: { type: 'string' },
  'ranks-per-vm': { type: 'string' },
  network: { type: 'boolean' },
  threads: { type: 'boolean' },
  bind: { type: 'string' },
  label: { type: 'boolean' },
  env: { type: 'string', multiple: true },
  cwd: { type: 'string' },
  timeout: { type: 'string' },
  heartbeat: { type: 'string' },
  'output-dir': { type: 'string' },
  json: { type: 'boolean' },
  'keep-going': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** `--vm` alone asks for the driver that needs nothing of the machine. */
const DEFAULTS = { '--vm': 'uml' };

type OptionValue = string | boolean | undefined;

/** What the user asked for. */
export interface RunOptions {
  readonly job: Omit<JobOptions, 'place' | 'stdin' | 'onEvent'>;
  /** The drivers of the ranks' virtual machines, in turn; undefined runs all ranks on this host. */
  readonly vm: readonly RankDriver[] | undefined;
  readonly ranksPerVm: number;
  readonly network: boolean;
  /** Ranks are threads of one process. */
  readonly threads: boolean;
}

function wrong(option: string, wanted: string, given: OptionValue): UsageError {
  return new UsageError(`${option} must be ${wanted}, not '${String(given)}'`);
}

function parseCount(option: string, value: OptionValue): number {
  const count = Number(value);
  if (!/^[0-9]+$/.test(String(value)) || !Number.isSafeInteger(count) || count < 1) {
    throw wrong(option, 'a whole number of at least 1', value);
  }
  return count;
}

function parseRanks(value: OptionValue, hosts: OptionValue): number {
  const room = hosts === undefined ? undefined : ranksOfHosts(String(hosts));
  if (value === undefined && room === undefined) {
    throw new UsageError('say how many ranks to start, as in -n 2');
  }
  const ranks = value === undefined ? Number(room) : parseCount('-n', value);
  if (room !== undefined && ranks > room) {
    throw new UsageError(`-n ${ranks} is more than the ${room} ranks that --hosts has room for`);
  }
  return ranks;
}

function parseMilliseconds(option: string, value: string, leastMs: number): number {
  const milliseconds = Number(value) * 1000;
  const isEnough = leastMs === 0 ? milliseconds > 0 : milliseconds >= leastMs;
  if (value.trim() === '' || !(isEnough && milliseconds < 2 ** 31)) {
    const least = leastMs === 0 ? 'above 0' : `of at least ${leastMs / 1000}`;
    throw wrong(option, `a number of seconds ${least} and below 2147483`, value);
  }
  return milliseconds;
}

function parseTimes(values: Readonly<Record<string, OptionValue>>) {
  const { timeout, heartbeat } = values;
  return {
    ...(timeout === undefined
      ? {}
      : { timeoutMs: parseMilliseconds('--timeout', String(timeout), 0) }),
    ...(heartbeat === undefined
      ? {}
      : {
          heartbeatTimeoutMs:
            heartbeat === 'never'
              ? Infinity
              : parseMilliseconds('--heartbeat', String(heartbeat), 1000),
        }),
  };
}

/** The environment of this process, with what was given. */
function parseEnvironment(settings: readonly string[] = []): {
  env?: Record<string, string | undefined>;
} {
  if (settings.length === 0) return {};
  const env: Record<string, string | undefined> = { ...process.env };
  for (const setting of settings) {
    const at = setting.indexOf('=');
    if (at <= 0) throw wrong('--env', 'NAME=VALUE', setting);
    env[setting.slice(0, at)] = setting.slice(at + 1);
  }
  return { env };
}

function parsePaths(values: Readonly<Record<string, OptionValue>>) {
  const { cwd, 'output-dir': outputDir } = values;
  return {
    ...(cwd === undefined ? {} : { cwd: String(cwd) }),
    ...(outputDir === undefined ? {} : { outputDir: String(outputDir) }),
  };
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
  const { values, lists, program } = parseCommandLine(args, OPTIONS, DEFAULTS);
  if (values['help'] === true) return 'help';
  const size = parseRanks(values['ranks'], values['hosts']);
  const vm = parseVm(values['vm']);
  const perVm = values['ranks-per-vm'];
  if (perVm !== undefined && vm === undefined) {
    throw new UsageError('--ranks-per-vm is for ranks in virtual machines: add --vm');
  }
  const threads = values['threads'] === true;
  if (threads && (vm !== undefined || values['network'] === true)) {
    throw new UsageError('--threads runs all ranks in one process: leave out --vm and --network');
  }
  const { bind = 'core' } = values;
  if (bind !== 'core' && bind !== 'none') throw wrong('--bind', 'core or none', bind);
  const times = parseTimes(values);
  const environment = parseEnvironment(lists['env']);
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
      json: values['json'] === true,
      keepGoing: values['keep-going'] === true,
      ...times,
      ...environment,
      ...parsePaths(values),
    },
    vm,
    ranksPerVm: perVm === undefined ? 1 : parseCount('--ranks-per-vm', perVm),
    network: values['network'] === true,
    threads,
  };
}
