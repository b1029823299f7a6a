/** Which processors this process may use, best for one rank each first. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

import { parseCpuList } from '../mpi/bootstrap/cpu-list.js';

function siblings(cpu: number): number[] {
  try {
    const topology = `/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`;
    return parseCpuList(readFileSync(topology, 'utf8'));
  } catch {
    // A container may hide the topology: each processor then counts as a core of its own.
    return [cpu];
  }
}

/**
 * The processors in this process's affinity mask, one of each core before the second of any, so
 * that the first n are the best n. A CPU quota of the control group shortens the list.
 */
export function usableProcessors(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '');
  const turn = new Map(
    allowed.map((cpu) => {
      const core = siblings(cpu).filter((sibling) => allowed.includes(sibling));
      return [cpu, core.indexOf(cpu)];
    }),
  );
  return allowed
    .sort((a, b) => (turn.get(a) ?? 0) - (turn.get(b) ?? 0) || a - b)
    .slice(0, Math.max(1, availableParallelism()));
}
