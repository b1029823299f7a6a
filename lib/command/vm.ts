/** `viaduct vm`: finds the command among those of virtual machines. */
import { UsageError } from './usage-error.js';
import * as actions from './vm/actions.js';
import { boot, receive, restore } from './vm/arrival.js';
import { completion } from './vm/completion.js';
import { exec } from './vm/exec.js';
import { help } from './vm/help.js';
import { list, stats } from './vm/list.js';

type Command = (args: readonly string[]) => number | Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  boot,
  list,
  exec,
  ...actions,
  restore,
  receive,
  stats,
  completion: (args) => completion(args, Object.keys(commands)),
};

/** Runs the command; resolves to its exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  // What follows the machine's name may be the command's own.
  const own = name === 'exec' ? rest.slice(0, 1) : rest;
  const wantsHelp = own.includes('--help') || own.includes('-h');
  if (name === '--help' || name === '-h' || wantsHelp) {
    process.stdout.write(help);
    return 0;
  }
  if (name === undefined) throw new UsageError('name a command, such as boot or list');
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new UsageError(`unknown ${name.startsWith('-') ? 'option' : 'command'} ${name}`);
  }
  return command(rest);
}
