/** `viaduct vm boot`, `restore`, `receive`: machines come to life, with progress on a terminal. */
import {
  NamedMachine,
  type ArrivalOptions,
  type KeptBootOptions,
  type MachineStatus,
} from '../../vm/index.js';
import {
  parseChoice,
  parseCount,
  parseSeconds,
  parseSize,
  parseWords,
  printJson,
  type Words,
} from './options.js';

const ARRIVAL = {
  json: { type: 'boolean' },
  console: { type: 'boolean' },
  timeout: { type: 'string' },
} as const;

const BOOT = {
  ...ARRIVAL,
  driver: { type: 'string' },
  memory: { type: 'string' },
  vcpus: { type: 'string' },
  program: { type: 'string', multiple: true },
  accelerator: { type: 'string' },
  machine: { type: 'string' },
} as const;

function bootOptions(values: Words['values']): KeptBootOptions {
  const { driver, memory, vcpus, program, accelerator, machine } = values;
  return {
    ...(driver === undefined ? {} : { driver: parseChoice('--driver', driver, ['uml', 'qemu']) }),
    ...(memory === undefined ? {} : { memoryBytes: parseSize('--memory', memory) }),
    ...(vcpus === undefined ? {} : { vcpus: parseCount('--vcpus', vcpus) }),
    ...(program === undefined ? {} : { programs: program as string[] }),
    ...(accelerator === undefined
      ? {}
      : { accelerator: parseChoice('--accelerator', accelerator, ['kvm', 'tcg', 'auto']) }),
    ...(machine === undefined
      ? {}
      : { machineType: parseChoice('--machine', machine, ['microvm', 'q35']) }),
  };
}

/** The line that a terminal shows while a machine comes: the console's last words. */
class ProgressLine {
  readonly #shown = process.stderr.isTTY;
  readonly #name: string;
  readonly #startedAt = performance.now();

  constructor(name: string) {
    this.#name = name;
  }

  show(what: string): void {
    if (!this.#shown) return;
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1);
    const room = (process.stderr.columns || 80) - 1;
    // Without what a guest could do to the terminal.
    const line = `${this.#name}  ${seconds} s  ${what}`.replaceAll(/[^\x20-\x7e]/g, '');
    process.stderr.write(`\r\x1b[K${line.slice(0, room)}`);
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[K');
  }
}

async function arrive(
  name: string,
  values: Words['values'],
  start: (arrival: ArrivalOptions) => Promise<NamedMachine>,
): Promise<number> {
  const { timeout } = values;
  const limit = timeout === undefined ? {} : { timeoutMs: parseSeconds('--timeout', timeout) };
  const line = new ProgressLine(name);
  const interrupted = new AbortController();
  let by: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    by ??= signal;
    interrupted.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const onConsole = (text: string): void => {
    if (values['console'] === true) process.stderr.write(text);
    else line.show(text.trim().split('\n').at(-1) ?? '');
  };
  line.show('starting');
  try {
    const machine = await start({ ...limit, onConsole, signal: interrupted.signal });
    line.clear();
    report(await machine.status(), values['json'] === true);
    return 0;
  } catch (error) {
    line.clear();
    if (by === undefined) throw error;
    return by === 'SIGINT' ? 130 : 143;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

function report(status: MachineStatus, json: boolean): void {
  if (json) {
    printJson(status);
    return;
  }
  const { name, driver, accelerator, kernel, bootPhases } = status;
  const by = accelerator === 'none' ? driver : `${driver}, ${accelerator}`;
  const seconds = (bootPhases.agentMs / 1000).toFixed(2);
  process.stdout.write(`${name} runs (${by}, Linux ${kernel}), after ${seconds} s\n`);
}

export async function boot(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(args, BOOT, 'the name of the new machine', 1);
  const [name = ''] = positionals;
  const options = bootOptions(values);
  return arrive(name, values, (arrival) => NamedMachine.boot(name, options, arrival));
}

export async function restore(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(args, ARRIVAL, 'a name and the file of a snapshot', 2);
  const [name = '', path = ''] = positionals;
  return arrive(name, values, (arrival) => NamedMachine.restore(name, path, arrival));
}

export async function receive(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(args, ARRIVAL, 'a name and the path of a socket', 2);
  const [name = '', path = ''] = positionals;
  return arrive(name, values, (arrival) => NamedMachine.receive(name, path, arrival));
}
