/** What two queue pairs must know of each other: plain data, to be sent by any means. */
import type { GidType, MtuBytes, QueuePairType } from './enumerations.js';

/** One end of a connection, as `qp.endpoint()` makes it. JSON carries it unchanged. */
export interface Endpoint {
  /** Both ends of a connection have the same type, but for XRC's two. */
  readonly type: QueuePairType;
  /** The queue pair's number, 24 bits. */
  readonly qpn: number;
  /** The packet sequence number of the first packet it sends, 24 bits. */
  readonly psn: number;
  /** The port's local identifier; 0 on Ethernet. */
  readonly lid: number;
  /** The port's GID in eight groups of hexadecimal digits; null where the port has none. */
  readonly gid: string | null;
  /** The port's active MTU in bytes. */
  readonly mtu: MtuBytes;
  /** The key that datagrams to it must carry. UD only. */
  readonly qkey: number;
}

/** What the queue pair is to be on its port. What is not given stays as an earlier `endpoint()` had it. */
export interface EndpointOptions {
  /** The device's port. Default 1. */
  readonly port?: number;
  /**
   * The port's GID to send from, by its index. Default: on Ethernet the first RoCE v2 entry, an IPv4 address if there
   * is one; else 0.
   */
  readonly gidIndex?: number;
  /** The first packet sequence number, 24 bits. Default: random. */
  readonly psn?: number;
  /** The key that datagrams to it must carry, 32 bits. Default: random. UD only. */
  readonly qkey?: number;
}

/** One entry of a port's GID table. */
export interface GidEntry {
  /** Eight groups of hexadecimal digits. */
  readonly gid: string;
  /** Its place in the port's table: what `EndpointOptions` and address vectors name. */
  readonly gidIndex: number;
  /** The port, from 1 on. */
  readonly portNum: number;
  /** By which protocol packets from it travel. */
  readonly gidType: GidType;
  /** The network interface of the address; 0 where there is none. */
  readonly ndevIfindex: number;
}
