/** The ids of work requests: whose they are, and what for. */

/** Most ranks that ids have room for. */
export const MOST_RANKS = 1 << 16;

const SLOT_BITS = 13;
const SEND_BIT = 1 << SLOT_BITS;
const OWNER_SHIFT = SLOT_BITS + 1;
const SLOT_MASK = SEND_BIT - 1;

/** @param owner 0 for the datagram queue pair, else a rank plus one. */
export const sendId = (owner: number, slot: number): number =>
  (owner << OWNER_SHIFT) | SEND_BIT | slot;
export const receiveId = (owner: number, slot: number): number => (owner << OWNER_SHIFT) | slot;

export const ownerOf = (id: number): number => id >> OWNER_SHIFT;
export const slotOf = (id: number): number => id & SLOT_MASK;
export const isSend = (id: number): boolean => (id & SEND_BIT) !== 0;
