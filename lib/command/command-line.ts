/** Splits a command line into options and the program that follows them. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

import { UsageError } from './usage-error.js';

type OptionTable = NonNullable<ParseArgsConfig['options']>;

/** Options by their long names; the program with its arguments is empty if there is none. */
export interface CommandLine {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** Each value of options that may be given several times (`multiple`), in their order. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly program: readonly string[];
}

/**
 * Parses options up to `--` or the first word that belongs to none; all from there on is the
 * program's, its options included. `defaults` gives values to options that may stand without one.
 *
 * @throws UsageError
 */
export function parseCommandLine(
  args: readonly string[],
  options: OptionTable,
  defaults: Readonly<Record<string, string>> = {},
): CommandLine {
  const full = args.map((arg) =>
    Object.hasOwn(defaults, arg) ? `${arg}=${defaults[arg] ?? ''}` : arg,
  );
  const { tokens } = parseArgs({
    args: full,
    options,
    strict: false,
    allowNegative: true,
    tokens: true,
  });
  const values: Record<string, string | boolean | undefined> = {};
  const lists: Record<string, string[]> = {};
  for (const token of tokens) {
    if (token.kind === 'option-terminator') {
      return { values, lists, program: args.slice(token.index + 1) };
    }
    if (token.kind === 'positional') return { values, lists, program: args.slice(token.index) };
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    const negated = token.rawName === `--no-${token.name}`;
    if (option === undefined || (negated && option.type !== 'boolean')) {
      throw new UsageError(`unknown option ${token.rawName}`);
    }
    if (option.type === 'boolean') {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
      values[token.name] = !negated;
      continue;
    }
    if (token.value === undefined) throw new UsageError(`${token.rawName} needs a value`);
    if (option.multiple === true) (lists[token.name] ??= []).push(token.value);
    else values[token.name] = token.value;
  }
  return { values, lists, program: [] };
}
