/** Words and options of the `viaduct vm` commands. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

import { UsageError } from '../usage-error.js';

type OptionTable = NonNullable<ParseArgsConfig['options']>;
export type OptionValue = string | boolean | (string | boolean)[] | undefined;

export interface Words {
  readonly values: Readonly<Record<string, OptionValue>>;
  readonly positionals: readonly string[];
}

/** Options may stand anywhere. @throws UsageError unless there are from `least` to `most` words. */
export function parseWords(
  args: readonly string[],
  options: OptionTable,
  names: string,
  least: number,
  most = least,
): Words {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0] ?? 'wrong usage');
  }
  const { values, positionals } = parsed;
  if (positionals.length < least || positionals.length > most) {
    throw new UsageError(names === '' ? 'no more words are needed' : `it takes ${names}`);
  }
  return { values: values, positionals };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** A size in bytes, with K, M or G for powers of 1024. */
export function parseSize(option: string, text: OptionValue): number {
  const match = /^(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?$/i.exec(String(text));
  const bytes = Number(match?.[1]) * (UNITS[(match?.[2] ?? '').toUpperCase()] ?? NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new UsageError(`${option} is a size such as 256M or 1G, not '${String(text)}'`);
}

export function parseSeconds(option: string, text: OptionValue): number {
  const milliseconds = Number(text) * 1000;
  if (String(text).trim() !== '' && milliseconds > 0 && milliseconds < 2 ** 31) return milliseconds;
  throw new UsageError(`${option} is a number of seconds above 0, not '${String(text)}'`);
}

export function parseCount(option: string, text: OptionValue): number {
  const count = Number(text);
  if (/^\d+$/.test(String(text)) && count > 0) return count;
  throw new UsageError(`${option} is a whole number above 0, not '${String(text)}'`);
}

export function parseChoice<T extends string>(
  option: string,
  text: OptionValue,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`${option} is ${choices.join(' or ')}, not '${String(text)}'`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** A size for people. */
export function formatSize(bytes: number): string {
  const mib = bytes / 2 ** 20;
  return mib >= 1024 ? `${(mib / 1024).toFixed(1)} GiB` : `${mib.toFixed(1)} MiB`;
}
