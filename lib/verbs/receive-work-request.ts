/** Receive work requests as plain objects. */
import type { MemorySlice } from './memory-region.js';
import type { ReceiveRing } from './rings/receive-ring.js';

/** Memory known by its address and key alone, as in ibv_sge; the device checks them. */
export interface RawMemory {
  /** Of its first byte, as its region has it. */
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
  /** Local key of its region, 32 bits. */
  readonly lkey: number;
}

/** One piece of memory in a work request: a part of a region, or an address and a key. */
export type ScatterGatherEntry = MemorySlice | RawMemory;

/** One receive (ibv_post_recv(3)). It takes one message, which must not be longer than its memory. */
export interface ReceiveWorkRequest {
  /** Comes back in the completion. A whole number up to 2^53. Default 0. */
  readonly id?: number;
  /** Where the message goes. Default: nowhere, for messages of no bytes. */
  readonly sge?: ScatterGatherEntry | readonly ScatterGatherEntry[];
}

const NONE: readonly ScatterGatherEntry[] = [];

export function entriesOf(
  sge: ScatterGatherEntry | readonly ScatterGatherEntry[] | undefined,
): readonly ScatterGatherEntry[] {
  if (sge === undefined) return NONE;
  return 'length' in sge && !('lkey' in sge) && !('region' in sge) ? sge : [sge];
}

/** Writes requests into the ring from its start, and has them posted each time it is full. */
export function writeReceives(
  ring: ReceiveRing,
  requests: ReceiveWorkRequest | readonly ReceiveWorkRequest[],
  post: (count: number) => void,
): void {
  const list: readonly ReceiveWorkRequest[] = Array.isArray(requests)
    ? requests
    : [requests as ReceiveWorkRequest];
  let count = 0;
  for (const request of list) {
    ring.start(count, request.id ?? 0);
    for (const entry of entriesOf(request.sge)) {
      if ('region' in entry) ring.addEntry(count, entry.region, entry.offset, entry.length);
      else ring.addRawEntry(count, entry.address, entry.length, entry.lkey);
    }
    count += 1;
    if (count === ring.capacity) {
      post(count);
      count = 0;
    }
  }
  if (count > 0) post(count);
}
