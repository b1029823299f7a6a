/** What queue pairs are asked for: their making, their connections. */
import type { CompletionQueue } from './completion-queue.js';
import type { Access, MtuBytes, QueuePairType, SendOpcode } from './enumerations.js';
import type { SharedReceiveQueue } from './shared-receive-queue.js';

/** The receiving end of XRC has no queues of its own. */
export interface XrcTargetOptions {
  /** ibv_qp_create_flags, or-ed (ibv_create_qp_ex(3)). Default 0. */
  readonly createFlags?: number;
}

/** What `pd.createQp` is to make. The device may give more than is asked for: see `qp.cap`. */
export interface QueuePairOptions extends XrcTargetOptions {
  /** The service it offers. */
  readonly type: QueuePairType;
  /** Where sends complete; all types but `XRC_RECV` need one. */
  readonly sendCq?: CompletionQueue;
  /** Where receives complete. Default: `sendCq`. */
  readonly recvCq?: CompletionQueue;
  /** Takes receives from here instead of a queue of its own. */
  readonly srq?: SharedReceiveQueue;
  /** Send requests that it can hold. Default 64. */
  readonly maxSendWr?: number;
  /** Receives that it can hold. Default 64, with `srq` 0. */
  readonly maxRecvWr?: number;
  /** Pieces of memory in a send request. Default 1. */
  readonly maxSendSge?: number;
  /** Pieces of memory in a receive. Default 1, without receives 0. */
  readonly maxRecvSge?: number;
  /** Bytes that a request can carry in itself. Default 0. */
  readonly maxInlineBytes?: number;
  /** Whether every send request is signaled. Default false. */
  readonly signalAll?: boolean;
  /** Posts by the newer ibv_wr_* functions, for these opcodes (ibv_wr_post(3)). Default: by ibv_post_send. */
  readonly sendOps?: readonly SendOpcode[];
}

/** How a connection behaves. Times are in the codes of ibv_modify_qp(3). */
export interface ConnectOptions {
  /** What the peer may do with memory of this side. Default: everything that its regions allow. */
  readonly access?: readonly Access[];
  /** Bytes of data in a packet, on the whole path. Default: the smaller of both ports' active MTUs. */
  readonly mtu?: MtuBytes;
  /** 4.096 µs · 2^timeout until a retry. Default 14, which is 67 ms. */
  readonly timeout?: number;
  /** How often a packet is sent again before its request fails with `RETRY_EXC_ERR`, 0 to 7. Default 7. */
  readonly retryCnt?: number;
  /** Retries while the peer has no receive posted. Default 7, for ever. */
  readonly rnrRetry?: number;
  /** Code of the time that the peer is told to wait while no receive is posted here. Default 12, which is 0.64 ms. */
  readonly minRnrTimer?: number;
  /** Reads and atomics of this side in flight. Default: up to 16, as the device has it. */
  readonly maxRdAtomic?: number;
  /** Reads and atomics of the peer that are served at a time. Default: up to 16, as the device has it. */
  readonly maxDestRdAtomic?: number;
  /** The partition, as an index into the port's table. Default 0. */
  readonly pkeyIndex?: number;
  /** Service level, 0 to 15. Default 0. */
  readonly sl?: number;
  /** 8 bits that routers choose a queue by. Default 0. */
  readonly trafficClass?: number;
  /** How many routers a packet may pass. Default 64. */
  readonly hopLimit?: number;
}

/** Extended connection establishment: what two vendors' adapters agree on. */
export interface Ece {
  /** The vendor's number, given by the IEEE. */
  readonly vendorId: number;
  /** Bits of that vendor's. */
  readonly options: number;
  /** Which further fields are valid; 0 so far. */
  readonly compMask: number;
}
