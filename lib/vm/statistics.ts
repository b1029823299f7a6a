/** What a machine takes of its host: all processes below its guard. */
import { readdirSync, readFileSync } from 'node:fs';

/** What a machine has taken of the host, and what its guest has. */
export interface VmStatistics {
  /** Processor time since the start, of all that the machine consists of. */
  readonly cpuMs: number;
  /** Memory of the host that it takes now; what it shares with others counts by its share. */
  readonly residentBytes: number;
  /** As the guest's kernel sees it; undefined while it can't be asked. */
  readonly guestMemory: GuestMemory | undefined;
}

/** Memory of a guest as its kernel sees it. */
export interface GuestMemory {
  /** MemTotal of proc(5): what the kernel has to give. */
  readonly totalBytes: number;
  /** MemFree: what is used for nothing. */
  readonly freeBytes: number;
  /** MemAvailable: what could be given to programs without swapping. */
  readonly availableBytes: number;
}

/** The unit of times in /proc is the same on all Linux systems: USER_HZ, 100 a second. */
const TICK_MS = 10;

export function measureTree(root: number): Pick<VmStatistics, 'cpuMs' | 'residentBytes'> {
  let cpuMs = 0;
  let residentBytes = 0;
  for (const { pid, ticks } of treeOf(root)) {
    cpuMs += ticks * TICK_MS;
    residentBytes += residentBytesOf(pid);
  }
  return { cpuMs, residentBytes };
}

interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
}

function treeOf(root: number): ProcessTimes[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => timesOf(Number(name)))
    .filter((times) => times !== undefined);
  const tree = all.filter(({ pid }) => pid === root);
  for (const { pid } of tree) tree.push(...all.filter(({ parent }) => parent === pid));
  return tree;
}

function timesOf(pid: number): ProcessTimes | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // proc(5): the name may hold anything, but ends at the last parenthesis; field 3 follows.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // User and system time, and those of children that were waited for.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { pid, parent: Number(fields[1]), ticks };
}

function residentBytesOf(pid: number): number {
  const shares = /^Pss:\s+(\d+) kB/m.exec(readProc(`/proc/${pid}/smaps_rollup`) ?? '');
  if (shares?.[1] !== undefined) return Number(shares[1]) * 1024;
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readProc(`/proc/${pid}/status`) ?? '');
  return Number(resident?.[1] ?? 0) * 1024;
}

/** Processes come and go: one that is gone has nothing. */
function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
