/**
 * PMI-1, the protocol between a rank and its launcher, as lines of text: `cmd=NAME key=value …`. The rank asks, the
 * launcher answers, one at a time; only a request to start more processes takes several lines, from `mcmd=` to `endcmd`.
 */
import type { Duplex } from 'node:stream';

import { PmiError } from './errors.js';

/** Longest texts in bytes that a launcher promises to take; those that MPICH's hydra has. */
export const KVS_NAME_LIMIT = 256;
export const KEY_LIMIT = 64;
export const VALUE_LIMIT = 1024;

/** Longer than any line of keys and values within their limits. */
const LONGEST_LINE_BYTES = 4096;

/** One line's fields by name; `cmd` is the first. */
export type Fields = Readonly<Record<string, string>>;

/** The fields in this order, which some launchers scan for. */
export function encodeLine(fields: Fields): string {
  const words = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  return `${words.join(' ')}\n`;
}

/** Words without `=` belong to a text such as `msg=` and say nothing to a program. */
export function decodeLine(line: string): Fields {
  // Names are the peer's: none may be found in a prototype.
  const fields = Object.create(null) as Record<string, string>;
  for (const word of line.split(' ')) {
    const at = word.indexOf('=');
    if (at > 0) fields[word.slice(0, at)] = word.slice(at + 1);
  }
  return fields;
}

/** Calls back with each whole line of a stream; with an error for one of more bytes than `limit` has at that moment. */
export function onLines(
  stream: Duplex,
  onLine: (line: string) => void,
  onError: (error: PmiError) => void,
  limit: { readonly bytes: number } = { bytes: LONGEST_LINE_BYTES },
): void {
  let rest = '';
  const isTooLong = (line: string): boolean => {
    if (line.length <= limit.bytes) return false;
    onError(new PmiError('ERR_PMI_PROTOCOL', `a line of more than ${limit.bytes} bytes`));
    return true;
  };
  stream.on('data', (chunk: Buffer) => {
    // Keys and values are printable ASCII.
    const lines = (rest + chunk.toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (stream.destroyed) return;
      if (!isTooLong(line)) onLine(line);
    }
    if (!stream.destroyed && isTooLong(rest)) rest = '';
  });
}
