/** The commands of `viaduct vm` that do one thing to a machine that is there. */
import { NamedMachine } from '../../vm/index.js';
import { UsageError } from '../usage-error.js';
import { formatSize, parseSeconds, parseSize, parseWords, printJson } from './options.js';

const JSON_OPTION = { json: { type: 'boolean' } } as const;
const NAME = 'the name of a machine';

type Action = (args: readonly string[]) => Promise<number>;

/** A command that takes one name and gives no result but its success. */
const simple =
  (act: (machine: NamedMachine) => Promise<void>): Action =>
  async (args) => {
    const { values, positionals } = parseWords(args, JSON_OPTION, NAME, 1);
    const machine = await NamedMachine.open(positionals[0] ?? '');
    await act(machine);
    if (values['json'] === true) printJson({ name: machine.name });
    return 0;
  };

export const pause = simple((machine) => machine.pause());
export const resume = simple((machine) => machine.resume());
export const kill = simple((machine) => machine.kill());

export async function stop(args: readonly string[]): Promise<number> {
  const options = { ...JSON_OPTION, grace: { type: 'string' } } as const;
  const { values, positionals } = parseWords(args, options, NAME, 1);
  const { grace } = values;
  const graceMs = grace === undefined ? {} : { graceMs: parseSeconds('--grace', grace) };
  const machine = await NamedMachine.open(positionals[0] ?? '');
  await machine.stop(graceMs);
  if (values['json'] === true) printJson({ name: machine.name });
  return 0;
}

/** A command that writes the machine's state somewhere. */
const save =
  (words: string, act: 'snapshot' | 'migrate', done: string): Action =>
  async (args) => {
    const { values, positionals } = parseWords(args, JSON_OPTION, words, 2);
    const [name = '', path = ''] = positionals;
    const machine = await NamedMachine.open(name);
    const saved = await machine[act](path);
    if (values['json'] === true) {
      printJson({ name, path, ...saved });
    } else {
      process.stdout.write(
        `${name} ${done} ${path}: ${formatSize(saved.transferredBytes)}, ` +
          `it stood still for ${saved.downtimeMs.toFixed(0)} ms\n`,
      );
    }
    return 0;
  };

export const snapshot = save('the name of a machine and a new file', 'snapshot', 'is saved in');
export const migrate = save(
  'the name of a machine and the socket where another waits (viaduct vm receive)',
  'migrate',
  'has moved to',
);

export async function memory(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(
    args,
    JSON_OPTION,
    'the name of a machine and a size',
    2,
  );
  const [name = '', size] = positionals;
  const sizeBytes = parseSize('the size', size);
  const machine = await NamedMachine.open(name);
  const memoryBytes = await machine.resizeMemory(sizeBytes);
  if (values['json'] === true) printJson({ name, memoryBytes });
  else process.stdout.write(`${name} has ${formatSize(memoryBytes)}\n`);
  return 0;
}

/** NAME:PATH is in a machine, every other word a path of this host. */
function split(word: string): { name?: string; path: string } {
  const match = /^([A-Za-z0-9][A-Za-z0-9.-]*):(.*)$/s.exec(word);
  if (match?.[1] === undefined) return { path: word };
  return { name: match[1], path: match[2] ?? '' };
}

export async function copy(args: readonly string[]): Promise<number> {
  const { positionals } = parseWords(args, {}, 'from where and to where', 2);
  const [from, to] = [split(positionals[0] ?? ''), split(positionals[1] ?? '')];
  if ((from.name === undefined) === (to.name === undefined)) {
    throw new UsageError('one of the two is in a machine, as in app.js web:/tmp/app.js');
  }
  const machine = await NamedMachine.open(from.name ?? to.name ?? '');
  if (from.name === undefined) await machine.copyIn(from.path, to.path);
  else await machine.copyOut(from.path, to.path);
  return 0;
}

export async function console(args: readonly string[]): Promise<number> {
  const options = { follow: { type: 'boolean', short: 'f' } } as const;
  const { values, positionals } = parseWords(args, options, NAME, 1);
  const machine = await NamedMachine.open(positionals[0] ?? '');
  await machine.console((text) => process.stdout.write(text), {
    follow: values['follow'] === true,
  });
  return 0;
}
