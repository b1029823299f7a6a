/** What two queue pairs must know of each other: plain data, to be sent by any means. */
import type { GidType, MtuBytes, QueuePairType } from './enumerations.js';

/** One end of a connection, as `qp.endpoint()` makes it. JSON carries it unchanged. */
export interface Endpoint {
  readonly type: QueuePairType;
  readonly qpn: number;
  /** The packet sequence number of the first packet it sends. */
  readonly psn: number;
  readonly lid: number;
  /** Null where the port has none. */
  readonly gid: string | null;
  readonly mtu: MtuBytes;
  /** UD only. */
  readonly qkey: number;
}

export interface EndpointOptions {
  /** Default 1. */
  readonly port?: number;
  /** Default: on Ethernet the first RoCE v2 entry, an IPv4 address if there is one; else 0. */
  readonly gidIndex?: number;
  /** Default: random. */
  readonly psn?: number;
  /** Default: random. UD only. */
  readonly qkey?: number;
}

/** One entry of a port's GID table. */
export interface GidEntry {
  readonly gid: string;
  readonly gidIndex: number;
  readonly portNum: number;
  readonly gidType: GidType;
  /** The network interface of the address; 0 where there is none. */
  readonly ndevIfindex: number;
}
