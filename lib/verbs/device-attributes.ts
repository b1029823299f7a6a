/** What devices and ports say of themselves. */
import type { ATOMIC_CAP, LinkLayer, MtuBytes, PortState } from './enumerations.js';

/**
 * What a device has and how much of it at most (ibv_query_device(3), ibv_query_device_ex(3)). What it gives at a time may
 * be less: memory and other users share in it.
 */
export interface DeviceAttributes {
  /** Version of the firmware. */
  readonly fwVer: string;
  /** 16 hexadecimal digits in four groups. */
  readonly nodeGuid: string;
  /** The same for all devices of one adapter or system. */
  readonly sysImageGuid: string;
  /** Bytes that one memory region can have. */
  readonly maxMrSize: bigint;
  /** The page sizes that it can map memory by, or-ed: each bit is a size in bytes. */
  readonly pageSizeCap: bigint;
  /** The vendor's number, given by the IEEE. */
  readonly vendorId: number;
  /** The vendor's number of the part. */
  readonly vendorPartId: number;
  /** Version of the hardware. */
  readonly hwVer: number;
  /** Queue pairs. */
  readonly maxQp: number;
  /** Work requests in one send or receive queue. */
  readonly maxQpWr: number;
  /** Names of ibv_device_cap_flags. */
  readonly capabilities: readonly string[];
  /** Pieces of memory in one work request, RDMA reads excepted. */
  readonly maxSge: number;
  /** Pieces of memory in one RDMA read. */
  readonly maxSgeRd: number;
  /** Completion queues. */
  readonly maxCq: number;
  /** Completions in one completion queue. */
  readonly maxCqe: number;
  /** Memory regions. */
  readonly maxMr: number;
  /** Protection domains. */
  readonly maxPd: number;
  /** Reads and atomics of the peer that one queue pair can serve at a time. */
  readonly maxQpRdAtom: number;
  /** The same for all queue pairs together. */
  readonly maxResRdAtom: number;
  /** Reads and atomics of its own that one queue pair can have in flight. */
  readonly maxQpInitRdAtom: number;
  /**
   * What atomics are atomic with: `none` where there are none, `HCA` among those of this device, `global` with the
   * processor's too.
   */
  readonly atomicCap: (typeof ATOMIC_CAP)[number];
  /** Memory windows. */
  readonly maxMw: number;
  /** Queue pairs of type `RAW_PACKET`. */
  readonly maxRawEthyQp: number;
  /** Multicast groups. */
  readonly maxMcastGrp: number;
  /** Queue pairs in one multicast group. */
  readonly maxMcastQpAttach: number;
  /** Queue pairs in all multicast groups together. */
  readonly maxTotalMcastQpAttach: number;
  /** Address handles. */
  readonly maxAh: number;
  /** Shared receive queues. */
  readonly maxSrq: number;
  /** Receives in one shared receive queue. */
  readonly maxSrqWr: number;
  /** Pieces of memory in a receive of a shared receive queue. */
  readonly maxSrqSge: number;
  /** Entries of a port's table of partition keys. */
  readonly maxPkeys: number;
  /** Code of the longest time that it takes to acknowledge: 4.096 µs · 2^code. */
  readonly localCaAckDelay: number;
  /** Ports; their numbers go from 1 to this. */
  readonly physPortCnt: number;
  /** 0n: no timestamps. */
  readonly completionTimestampMask: bigint;
  /** In kHz. */
  readonly hcaCoreClock: bigint;
  /** On-demand paging in general, 0n: none (ibv_odp_general_caps). */
  readonly odpGeneralCaps: bigint;
  /** What on-demand paging does for RC: ibv_odp_transport_cap_bits, or-ed. */
  readonly rcOdpCaps: number;
  /** The same for UC. */
  readonly ucOdpCaps: number;
  /** The same for UD. */
  readonly udOdpCaps: number;
  /** The same for XRC. */
  readonly xrcOdpCaps: number;
  /** ibv_device_cap_flags, or-ed, with those beyond 32 bits; 0n where the device tells none such. */
  readonly deviceCapFlagsEx: bigint;
  /** What it does with raw packets: ibv_raw_packet_caps, or-ed. */
  readonly rawPacketCaps: number;
  /** Bytes of its own memory that programs can use. */
  readonly maxDmSize: bigint;
}

/** A port (ibv_query_port(3)). */
export interface PortAttributes {
  /** Its number, from 1 on. */
  readonly port: number;
  /** `ACTIVE`: data can be sent. */
  readonly state: PortState;
  /** Bytes of data that a packet can have on this port. */
  readonly maxMtu: MtuBytes;
  /** Bytes of data that a packet can have on its link as it is. */
  readonly activeMtu: MtuBytes;
  /** Entries of its GID table, empty ones too. */
  readonly gidTblLen: number;
  /** ibv_port_cap_flags, or-ed. */
  readonly portCapFlags: number;
  /** Bytes that one message can have. */
  readonly maxMsgSz: number;
  /** Packets that were dropped for their partition key. */
  readonly badPkeyCntr: number;
  /** Datagrams that were dropped for their queue key. */
  readonly qkeyViolCntr: number;
  /** Entries of its table of partition keys. */
  readonly pkeyTblLen: number;
  /** Its local identifier, which the subnet manager gives; 0 on Ethernet. */
  readonly lid: number;
  /** The subnet manager's local identifier. */
  readonly smLid: number;
  /** The port answers to 2^`lmc` local identifiers from `lid` on. */
  readonly lmc: number;
  /** Lanes as a code: 1 is 1x, 2 is 4x, 4 is 8x, 8 is 12x, 16 is 2x. */
  readonly activeWidth: number;
  /** Speed of a lane as a code: 1 SDR, 2 DDR, 4 QDR, 8 FDR10, 16 FDR, 32 EDR, 64 HDR. */
  readonly activeSpeed: number;
  /** Physical state as a code: 1 sleep, 2 polling, 3 disabled, 4 training, 5 link up, 6 error recovery, 7 test. */
  readonly physState: number;
  /** What its link is. */
  readonly linkLayer: LinkLayer;
  /** How many virtual lanes it has, as a code: 1 is one, 2 is 2, 3 is 4, 4 is 8, 5 is 15. */
  readonly maxVlNum: number;
  /** The service level for messages to the subnet manager. */
  readonly smSl: number;
  /** Code of the longest time that the subnet takes to deliver: 4.096 µs · 2^code. */
  readonly subnetTimeout: number;
  /** How the subnet manager set it up, as bits of PortInfo (InfiniBand Vol. 1, 14.2.5.6). */
  readonly initTypeReply: number;
  /** 1: an address vector needs a GID. */
  readonly flags: number;
  /** ibv_port_cap_flags2, or-ed. */
  readonly portCapFlags2: number;
}
