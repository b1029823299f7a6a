/** Which processes descend from one, and whether they are gone: for tests that must leave none. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that can't be mistaken for a later one of the same number. */
export interface KnownProcess {
  readonly pid: number;
  readonly startTime: string;
  readonly command: string;
}

interface Status extends KnownProcess {
  readonly parent: number;
  readonly state: string;
}

function statusOf(pid: number): Status | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name may hold anything, but ends at the last parenthesis.
    const command = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return {
      pid,
      command,
      state: fields[0] ?? '',
      parent: Number(fields[1]),
      startTime: fields[19] ?? '',
    };
  } catch {
    return undefined;
  }
}

function allProcesses(): Status[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statusOf(Number(name)))
    .filter((status) => status !== undefined);
}

/** The process itself and all below it. */
export function treeOf(root: number): KnownProcess[] {
  const processes = allProcesses();
  const tree = processes.filter(({ pid }) => pid === root);
  for (const { pid } of tree) tree.push(...processes.filter(({ parent }) => parent === pid));
  return tree;
}

/** A zombie has ended; reaping it is up to whoever inherited it. */
function isAlive({ pid, startTime }: KnownProcess): boolean {
  const now = statusOf(pid);
  return now !== undefined && now.startTime === startTime && now.state !== 'Z';
}

/** Resolves when all have ended, or after 20 s with those that have not. */
export async function survivors(processes: readonly KnownProcess[]): Promise<KnownProcess[]> {
  for (let rounds = 0; rounds < 400; rounds += 1) {
    if (!processes.some(isAlive)) return [];
    await sleep(50);
  }
  return processes.filter(isAlive);
}
