/** Send work requests as plain objects. */
import type { AddressHandle } from './address-handle.js';
import {
  FENCE,
  numberOf,
  type SendOpcode,
  SIGNALED,
  SOLICITED,
  WR_OPCODE,
} from './enumerations.js';
import { argumentError } from './errors.js';
import type { RemoteMemory } from './memory-region.js';
import { bindingNumbers, type MemoryWindow, type WindowBinding } from './memory-window.js';
import { entriesOf, type ScatterGatherEntry } from './receive-work-request.js';
import type { SendRing } from './rings/send-ring.js';

/** One work request (ibv_post_send(3)). Which fields an opcode needs is said beside each. */
export interface SendWorkRequest {
  /** Comes back in the completion. A whole number up to 2^53. Default 0. */
  readonly id?: number;
  /** What it does. */
  readonly opcode: SendOpcode;
  /** The memory to send, write from, or read into; 8 bytes for atomics, `atomic-write` too. */
  readonly sge?: ScatterGatherEntry | readonly ScatterGatherEntry[];
  /** Bytes that are copied into the request, instead of `sge`; they need no registration. */
  readonly inline?: Uint8Array;
  /** Whether it completes with a completion when it succeeds. Default false, as in verbs. */
  readonly signaled?: boolean;
  /** Whether the peer's completion is a solicited event. */
  readonly solicited?: boolean;
  /** Whether it starts only when all reads and atomics before it are done. */
  readonly fence?: boolean;
  /** 32 bits for the peer's completion: opcodes `…-with-imm`. */
  readonly immediate?: number;
  /** The peer's memory: RDMA and atomics. */
  readonly remote?: RemoteMemory;
  /** The key that ends: `send-with-invalidate` (the peer's), `local-invalidate`. */
  readonly invalidateRkey?: number;
  /** `fetch-add`: what is added. */
  readonly add?: bigint;
  /** `compare-swap`: what the peer's 8 bytes are compared with. */
  readonly compare?: bigint;
  /** `compare-swap`: what replaces them if they are equal. */
  readonly swap?: bigint;
  /** Where it goes: datagrams (UD). */
  readonly address?: AddressHandle;
  /** The receiver's queue pair, beside `address`. */
  readonly remoteQpn?: number;
  /** The receiver's key, beside `address`. */
  readonly remoteQkey?: number;
  /** The peer's shared receive queue (XRC). */
  readonly remoteSrqn?: number;
  /** `bind-mw`: a type 2 window. */
  readonly window?: MemoryWindow;
  /** `bind-mw`: what it opens. */
  readonly bind?: WindowBinding;
  /** `bind-mw`: its new key. Default `window.nextRkey()`. */
  readonly rkey?: number;
}

const low = (value: bigint): number => Number(value & 0xffffffffn);
const high = (value: bigint): number => Number((value >> 32n) & 0xffffffffn);

function need<T>(value: T | undefined, request: SendWorkRequest, field: string): T {
  if (value !== undefined) return value;
  throw argumentError('qp.postSend', `'${request.opcode}' needs '${field}'`, {
    opcode: request.opcode,
    missing: field,
  });
}

function writeBind(ring: SendRing, slot: number, request: SendWorkRequest, flags: number): void {
  const window = need(request.window, request, 'window');
  const binding = need(request.bind, request, 'bind');
  const { offset, length, access } = bindingNumbers('qp.postSend', binding);
  const rkey = request.rkey ?? window.nextRkey();
  ring.bindWindow(
    slot,
    request.id ?? 0,
    window,
    binding.region,
    offset,
    length,
    access,
    rkey,
    flags,
  );
}

/** Writes one request into a slot. */
export function writeSend(ring: SendRing, slot: number, request: SendWorkRequest): void {
  const flags =
    (request.signaled === true ? SIGNALED : 0) |
    (request.solicited === true ? SOLICITED : 0) |
    (request.fence === true ? FENCE : 0);
  const opcode = numberOf('qp.postSend', 'opcode', WR_OPCODE, request.opcode);
  if (request.opcode === 'bind-mw') {
    writeBind(ring, slot, request, flags);
    return;
  }
  ring.start(slot, request.id ?? 0, opcode, flags);
  for (const entry of entriesOf(request.sge)) {
    if ('region' in entry) ring.addEntry(slot, entry.region, entry.offset, entry.length);
    else ring.addRawEntry(slot, entry.address, entry.length, entry.lkey);
  }
  if (request.inline !== undefined) ring.setInline(slot, request.inline);
  writeOperands(ring, slot, request);
  if (request.address !== undefined) {
    ring.setDatagram(
      slot,
      request.address,
      need(request.remoteQpn, request, 'remoteQpn'),
      need(request.remoteQkey, request, 'remoteQkey'),
    );
  }
  if (request.remoteSrqn !== undefined) ring.setSharedReceiveQueue(slot, request.remoteSrqn);
}

function writeRemote(ring: SendRing, slot: number, request: SendWorkRequest): void {
  const { address, rkey } = need(request.remote, request, 'remote');
  ring.setRemote(slot, low(address), high(address), rkey);
}

function writeOperands(ring: SendRing, slot: number, request: SendWorkRequest): void {
  switch (request.opcode) {
    case 'send':
      return;
    case 'send-with-imm':
      ring.setImmediate(slot, need(request.immediate, request, 'immediate'));
      return;
    case 'rdma-write':
    case 'rdma-read':
    case 'atomic-write':
      writeRemote(ring, slot, request);
      return;
    case 'rdma-write-with-imm':
      writeRemote(ring, slot, request);
      ring.setImmediate(slot, need(request.immediate, request, 'immediate'));
      return;
    case 'fetch-add': {
      writeRemote(ring, slot, request);
      const add = need(request.add, request, 'add');
      ring.setAtomic(slot, low(add), high(add), 0, 0);
      return;
    }
    case 'compare-swap': {
      writeRemote(ring, slot, request);
      const compare = need(request.compare, request, 'compare');
      const swap = need(request.swap, request, 'swap');
      ring.setAtomic(slot, low(compare), high(compare), low(swap), high(swap));
      return;
    }
    case 'send-with-invalidate':
    case 'local-invalidate':
      ring.setImmediate(slot, need(request.invalidateRkey, request, 'invalidateRkey'));
      return;
    case 'bind-mw':
      return;
  }
}
