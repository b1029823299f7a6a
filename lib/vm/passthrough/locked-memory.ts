/** How much memory a VM of this process could pin: getrlimit(2) RLIMIT_MEMLOCK, capabilities(7) CAP_IPC_LOCK. */
import type { SystemTree } from './system-tree.js';

export interface LockedMemory {
  /** Infinity where there is no limit. */
  readonly limitBytes: number;
  readonly neededBytes: number;
  /** Whether the limit does not count for this process. */
  readonly isExempt: boolean;
}

/** QEMU maps more into the device's address space than memory: firmware, option ROMs, video memory. */
const FIRMWARE_BYTES = 64 * 2 ** 20;
const CAP_IPC_LOCK = 1n << 14n;

/** QEMU inherits both from this process, and may raise the soft limit to the hard one only if it is told to. */
export function lockedMemory(tree: SystemTree, memoryBytes: number): LockedMemory {
  const soft = /^Max locked memory\s+(\S+)/m.exec(tree.read('/proc/self/limits') ?? '')?.[1];
  const effective = /^CapEff:\s+([0-9a-f]+)/m.exec(tree.read('/proc/self/status') ?? '')?.[1];
  return {
    limitBytes: soft === undefined || soft === 'unlimited' ? Infinity : Number(soft),
    neededBytes: memoryBytes + FIRMWARE_BYTES,
    isExempt: effective !== undefined && (BigInt(`0x${effective}`) & CAP_IPC_LOCK) !== 0n,
  };
}
