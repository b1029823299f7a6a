/** How work requests and completions lie in a ring's memory: the other half of native/verbs/rings.h. */

export const RING_KIND = { send: 0, receive: 1, completion: 2, extendedCompletion: 3 } as const;

/** Words of 32 bits in a send slot. Its scatter/gather entries follow, then inline data. */
export const SEND = {
  idLow: 0,
  idHigh: 1,
  opcode: 2,
  flags: 3,
  length: 4,
  immediate: 5,
  remoteLow: 6,
  remoteHigh: 7,
  rkey: 8,
  object: 9,
  remoteQpn: 10,
  remoteQkey: 11,
  compareLow: 12,
  compareHigh: 13,
  swapLow: 14,
  swapHigh: 15,
  entries: 16,
} as const;

export const RECEIVE = { idLow: 0, idHigh: 1, length: 2, entries: 4 } as const;

/** Words of a scatter/gather entry, an ibv_sge. */
export const ENTRY = { addressLow: 0, addressHigh: 1, length: 2, lkey: 3, words: 4 } as const;

/** Words of an ibv_wc; an extended completion has two times after it. */
export const COMPLETION = {
  idLow: 0,
  idHigh: 1,
  status: 2,
  opcode: 3,
  vendorError: 4,
  byteLen: 5,
  immediate: 6,
  qpNum: 7,
  srcQp: 8,
  flags: 9,
  pkeyIndexAndSlid: 10,
  slAndPathBits: 11,
  words: 12,
  timestampLow: 12,
  timestampHigh: 13,
  wallclockLow: 14,
  wallclockHigh: 15,
  extendedWords: 16,
} as const;

const CACHE_LINE = 64;

export function sendStrideBytes(maxSge: number, inlineBytes: number): number {
  return Math.ceil((CACHE_LINE + 16 * maxSge + inlineBytes) / CACHE_LINE) * CACHE_LINE;
}

export function receiveStrideBytes(maxSge: number): number {
  return 16 + 16 * maxSge;
}

export const TWO_32 = 4294967296;
