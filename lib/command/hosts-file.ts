/** Reads a list of hosts, one a line with its number of ranks, as MPI's launchers have it. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

import { UsageError } from './usage-error.js';

const LINE = /^(?<host>\[[^\]]+\]|[^\s:]+)(?:(?::|\s+slots=)(?<ranks>\d+))?$/;

function isThisHost(name: string): boolean {
  const own = hostname();
  return ['localhost', '127.0.0.1', '[::1]', own, own.split('.', 1)[0]].includes(name);
}

/**
 * How many ranks the file has room for. Lines are `HOST`, `HOST:RANKS` or `HOST slots=RANKS`; `#` begins a comment.
 *
 * @throws UsageError when it can't be read, is malformed, or names another host: to start something there takes a shell on it,
 *   which is the business of an engine that has one.
 */
export function ranksOfHosts(path: string): number {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--hosts ${path} can't be read: ${(error as Error).message}`);
  }
  let total = 0;
  const others: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.replace(/#.*/, '').trim();
    if (content === '') continue;
    const { host, ranks = '1' } = LINE.exec(content)?.groups ?? {};
    if (host === undefined || Number(ranks) < 1) {
      throw new UsageError(
        `--hosts ${path}, line ${index + 1}: '${content}' is not HOST, HOST:RANKS or HOST slots=RANKS`,
      );
    }
    if (!isThisHost(host)) others.push(host);
    total += Number(ranks);
  }
  if (others.length > 0) {
    throw new UsageError(
      `--hosts ${path} names ${others.join(', ')}: viaduct run starts ranks on this host, and has no shell on others; ` +
        'start them by an engine that has one: srun --mpi=pmi2, or mpiexec.hydra -f FILE, with the same program',
    );
  }
  if (total === 0) throw new UsageError(`--hosts ${path} names no host`);
  return total;
}
