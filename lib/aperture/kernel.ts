/** Which kernel this process runs on, and whether a process of it still lives. */
import { readFileSync } from 'node:fs';

/** 64 bits that differ between two kernels: a host and its guests, or two boots of one machine. */
export function kernelId(): bigint {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replaceAll('-', '');
  return BigInt.asUintN(64, BigInt(`0x${bootId.trim()}`));
}

/**
 * When a process started, in clock ticks since boot; with its pid it names the process for good, since a
 * pid is used again. Undefined when no such process runs (a zombie does not).
 */
export function processStartTicks(pid: number | 'self'): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
  // proc(5): fields follow the command, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  return state === 'Z' || state === 'X' ? undefined : Number(fields[19]);
}
