/** The enumerations of <infiniband/verbs.h>: the numbers of its ABI, and the names that this library has for them. */
import { argumentError } from './errors.js';

/** ibv_qp_type */
export const QP_TYPE = {
  RC: 2,
  UC: 3,
  UD: 4,
  RAW_PACKET: 8,
  XRC_SEND: 9,
  XRC_RECV: 10,
} as const;
/**
 * Services of the InfiniBand specification (ibv_qp_type):
 *
 * - `RC`, reliable connection: all operations, with one peer, in order, none lost;
 * - `UC`, unreliable connection: sends and RDMA writes, with one peer, messages may be lost;
 * - `UD`, unreliable datagram: sends of up to one MTU, to any peer;
 * - `RAW_PACKET`: whole Ethernet frames;
 * - `XRC_SEND`, `XRC_RECV`: the two ends of a reliable connection into shared receive queues.
 *
 * @useDeclaredType
 */
export type QueuePairType = keyof typeof QP_TYPE;

/** ibv_qp_state */
export const QP_STATE = { RESET: 0, INIT: 1, RTR: 2, RTS: 3, SQD: 4, SQE: 5, ERR: 6 } as const;
/**
 * States of a queue pair (ibv_qp_state; InfiniBand Vol. 1, 10.3.1): `RESET`, `INIT` (receives can be posted), `RTR`
 * (ready to receive), `RTS` (ready to send), `SQD` (the send queue is drained), `SQE` (the send queue failed; not
 * RC), `ERR`.
 *
 * @useDeclaredType
 */
export type QueuePairState = keyof typeof QP_STATE;

/** ibv_access_flags */
export const ACCESS = {
  'local-write': 1,
  'remote-write': 2,
  'remote-read': 4,
  'remote-atomic': 8,
  'mw-bind': 16,
  'zero-based': 32,
  'on-demand': 64,
  'huge-tlb': 128,
  'relaxed-ordering': 1 << 20,
} as const;
/**
 * What may be done with memory (ibv_access_flags, ibv_reg_mr(3)); reading it locally may always.
 *
 * - `local-write`: receives, reads and atomics of this side may write to it; needed for the two that follow;
 * - `remote-write`, `remote-atomic`: the peer may write to it, or do atomics on it;
 * - `remote-read`: the peer may read it;
 * - `mw-bind`: memory windows may be bound to it;
 * - `zero-based`: requests name its bytes by their offsets, from 0 on, instead of by addresses;
 * - `on-demand`: pages are not pinned, but fetched when they are used;
 * - `huge-tlb`: it consists of huge pages;
 * - `relaxed-ordering`: the device may reorder its writes.
 *
 * @useDeclaredType
 */
export type Access = keyof typeof ACCESS;

/** ibv_wr_opcode */
export const WR_OPCODE = {
  'rdma-write': 0,
  'rdma-write-with-imm': 1,
  send: 2,
  'send-with-imm': 3,
  'rdma-read': 4,
  'compare-swap': 5,
  'fetch-add': 6,
  'local-invalidate': 7,
  'bind-mw': 8,
  'send-with-invalidate': 9,
  'atomic-write': 15,
} as const;
/**
 * What a send request does (ibv_wr_opcode, ibv_post_send(3)). `…-with-imm` gives 32 bits to the peer's completion,
 * and takes a receive of the peer; so does `send`. `…-invalidate` ends a remote key.
 *
 * @useDeclaredType
 */
export type SendOpcode = keyof typeof WR_OPCODE;

/** ibv_qp_create_send_ops_flags, which go by the numbers of ibv_wr_opcode (ibv_create_qp_ex(3)). */
export function sendOperations(opcodes: readonly SendOpcode[]): bigint {
  if (opcodes.includes('atomic-write')) {
    throw argumentError(
      'pd.createQp',
      "'atomic-write' is posted by ibv_post_send alone; leave sendOps out for a queue pair that needs it",
      { sendOps: opcodes },
    );
  }
  return opcodes.reduce((flags, opcode) => flags | (1n << BigInt(WR_OPCODE[opcode])), 0n);
}

/** Send flag, for rings: the request starts only when all reads and atomics before it are done (ibv_send_flags). */
export const FENCE = 1;
/** Send flag, for rings: the request makes a completion when it succeeds; when it fails it makes one anyway. */
export const SIGNALED = 2;
/** Send flag, for rings: the peer's completion is a solicited event, which wakes those who wait for such alone. */
export const SOLICITED = 4;
export const INLINE = 8;

/** ibv_wc_opcode */
const WC_OPCODE = {
  send: 0,
  'rdma-write': 1,
  'rdma-read': 2,
  'compare-swap': 3,
  'fetch-add': 4,
  'bind-mw': 5,
  'local-invalidate': 6,
  tso: 7,
  'atomic-write': 9,
  recv: 128,
  'recv-rdma-with-imm': 129,
} as const;
/**
 * What was completed (ibv_wc_opcode). Sends with immediate data or invalidation complete as `send`; on the receiving
 * side `recv`, or `recv-rdma-with-imm` for an RDMA write with immediate data.
 *
 * @useDeclaredType
 */
export type CompletionOpcode = keyof typeof WC_OPCODE;

/** Completion flag: the message begins with a global routing header of 40 bytes (ibv_wc_flags). */
export const WC_GRH = 1;
/** Completion flag: there is immediate data. */
export const WC_WITH_IMM = 2;
/** Completion flag: a key of this side was ended. */
export const WC_WITH_INV = 8;

/** ibv_wc_status, by number */
export const WC_STATUS = [
  'SUCCESS',
  'LOC_LEN_ERR',
  'LOC_QP_OP_ERR',
  'LOC_EEC_OP_ERR',
  'LOC_PROT_ERR',
  'WR_FLUSH_ERR',
  'MW_BIND_ERR',
  'BAD_RESP_ERR',
  'LOC_ACCESS_ERR',
  'REM_INV_REQ_ERR',
  'REM_ACCESS_ERR',
  'REM_OP_ERR',
  'RETRY_EXC_ERR',
  'RNR_RETRY_EXC_ERR',
  'LOC_RDD_VIOL_ERR',
  'REM_INV_RD_REQ_ERR',
  'REM_ABORT_ERR',
  'INV_EECN_ERR',
  'INV_EEC_STATE_ERR',
  'FATAL_ERR',
  'RESP_TIMEOUT_ERR',
  'GENERAL_ERR',
  'TM_ERR',
  'TM_RNDV_INCOMPLETE',
] as const;
/**
 * How a work request ended (ibv_wc_status). `completion.error` says of each failure what likely caused it.
 *
 * @useDeclaredType
 */
export type CompletionStatus = (typeof WC_STATUS)[number];

/** ibv_event_type, by number */
export const EVENT_TYPE = [
  'CQ_ERR',
  'QP_FATAL',
  'QP_REQ_ERR',
  'QP_ACCESS_ERR',
  'COMM_EST',
  'SQ_DRAINED',
  'PATH_MIG',
  'PATH_MIG_ERR',
  'DEVICE_FATAL',
  'PORT_ACTIVE',
  'PORT_ERR',
  'LID_CHANGE',
  'PKEY_CHANGE',
  'SM_CHANGE',
  'SRQ_ERR',
  'SRQ_LIMIT_REACHED',
  'QP_LAST_WQE_REACHED',
  'CLIENT_REREGISTER',
  'GID_CHANGE',
  'WQ_FATAL',
] as const;
/**
 * What happened to a device, port or object (ibv_event_type; ibv_get_async_event(3) says what each means).
 *
 * @useDeclaredType
 */
export type AsyncEventType = (typeof EVENT_TYPE)[number];

/** ibv_mtu: 1 to 5 for these */
const MTU_BYTES = [256, 512, 1024, 2048, 4096] as const;
/**
 * Bytes of data that a packet can have (ibv_mtu).
 *
 * @useDeclaredType
 */
export type MtuBytes = (typeof MTU_BYTES)[number];

export function mtuNumber(call: string, bytes: number): number {
  const index = MTU_BYTES.findIndex((known) => known === bytes);
  if (index >= 0) return index + 1;
  throw argumentError(call, `an MTU is ${MTU_BYTES.join(', ')} bytes, not ${bytes}`, {
    mtu: bytes,
  });
}

export function mtuBytes(number: number): MtuBytes {
  return MTU_BYTES[number - 1] ?? 256;
}

/** ibv_port_state, by number */
export const PORT_STATE = ['NOP', 'DOWN', 'INIT', 'ARMED', 'ACTIVE', 'ACTIVE_DEFER'] as const;
/**
 * State of a port (ibv_port_state): data can be sent in `ACTIVE`, and `ACTIVE_DEFER`.
 *
 * @useDeclaredType
 */
export type PortState = (typeof PORT_STATE)[number];

/** IBV_LINK_LAYER_*, by number */
export const LINK_LAYER = ['unspecified', 'InfiniBand', 'Ethernet'] as const;
/**
 * What a port's link is.
 *
 * @useDeclaredType
 */
export type LinkLayer = (typeof LINK_LAYER)[number];

/** ibv_node_type */
export const NODE_TYPE: Readonly<Record<number, string>> = {
  1: 'CA',
  2: 'SWITCH',
  3: 'ROUTER',
  4: 'RNIC',
  5: 'USNIC',
  6: 'USNIC_UDP',
  7: 'UNSPECIFIED',
};

/** ibv_transport_type */
export const TRANSPORT_TYPE: Readonly<Record<number, string>> = {
  0: 'InfiniBand',
  1: 'iWARP',
  2: 'usNIC',
  3: 'usNIC UDP',
  4: 'unspecified',
};

/** ibv_atomic_cap, by number */
export const ATOMIC_CAP = ['none', 'HCA', 'global'] as const;

/** ibv_gid_type, by number */
export const GID_TYPE = ['IB', 'RoCE v1', 'RoCE v2'] as const;
/**
 * By which protocol packets from a GID travel: InfiniBand's own, Ethernet frames of RoCE v1, UDP of RoCE v2.
 *
 * @useDeclaredType
 */
export type GidType = (typeof GID_TYPE)[number];

/** ibv_device_cap_flags */
export const DEVICE_CAPABILITY: Readonly<Record<string, number>> = {
  'resize-max-wr': 1 << 0,
  'bad-pkey-counter': 1 << 1,
  'bad-qkey-counter': 1 << 2,
  'raw-multi': 1 << 3,
  'auto-path-migration': 1 << 4,
  'change-phy-port': 1 << 5,
  'ud-av-port-enforce': 1 << 6,
  'current-qp-state-mod': 1 << 7,
  'shutdown-port': 1 << 8,
  'init-type': 1 << 9,
  'port-active-event': 1 << 10,
  'sys-image-guid': 1 << 11,
  'rc-rnr-nak-gen': 1 << 12,
  'srq-resize': 1 << 13,
  'n-notify-cq': 1 << 14,
  'mem-window': 1 << 17,
  'ud-ip-csum': 1 << 18,
  xrc: 1 << 20,
  'mem-mgt-extensions': 1 << 21,
  'mem-window-type-2a': 1 << 23,
  'mem-window-type-2b': 1 << 24,
  'rc-ip-csum': 1 << 25,
  'raw-ip-csum': 1 << 26,
};

export function numberOf(
  call: string,
  what: string,
  names: Readonly<Record<string, number>>,
  name: string,
): number {
  const number = names[name];
  if (number !== undefined && Object.hasOwn(names, name)) return number;
  const known = Object.keys(names).join(', ');
  throw argumentError(call, `there is no ${what} '${name}'; there are: ${known}`, { [what]: name });
}

export function nameOf(names: Readonly<Record<string, number>>, number: number): string {
  const found = Object.entries(names).find(([, value]) => value === number);
  return found?.[0] ?? `unknown (${number})`;
}

const wcOpcodeNames = new Map<number, CompletionOpcode>(
  Object.entries(WC_OPCODE).map(([name, number]) => [number, name as CompletionOpcode]),
);

export function completionOpcode(number: number): CompletionOpcode {
  return wcOpcodeNames.get(number) ?? 'send';
}

export function accessFlags(call: string, access: readonly Access[]): number {
  return access.reduce((flags, each) => flags | numberOf(call, 'access', ACCESS, each), 0);
}

export function accessNames(flags: number): Access[] {
  return (Object.keys(ACCESS) as Access[]).filter((name) => (flags & ACCESS[name]) !== 0);
}
