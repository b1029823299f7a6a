/** The guard, a small native program that ends a rank when its launcher ends, however that ends. */
import { builtExecutable } from '../addon/index.js';

/** A command line: the program's path and its arguments. */
export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
}

/** The signal by which a guard ends at once the program and all that it has started. */
export const KILL_TREE = 40;

/**
 * The command line that runs another one under the guard, bound to a processor if one is given:
 * what the program starts ends with it, and it ends with this process. Ranks stay in this process's
 * namespace, because they name the aperture and each other by process ids.
 */
export function guarded(program: CommandLine, cpu: number | undefined): CommandLine {
  const options = ['--parent', String(process.pid), '--kill-tree', '--same-namespace'];
  if (cpu !== undefined) options.push('--cpu', String(cpu));
  return {
    command: builtExecutable('viaduct-guard'),
    args: [...options, '--', program.command, ...program.args],
  };
}
