/** Lists of processors as Linux writes them. */

/**
 * `0-3,8` is 0, 1, 2, 3, 8.
 */
export function parseCpuList(list: string): number[] {
  const cpus: number[] = [];
  for (const range of list.trim().split(',')) {
    if (range === '') continue;
    const [first = NaN, last = first] = range.split('-').map(Number);
    for (let cpu = first; cpu <= last; cpu++) cpus.push(cpu);
  }
  return cpus;
}
