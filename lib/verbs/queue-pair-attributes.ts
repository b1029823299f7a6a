/** The attributes of queue pairs: to and from the numbers of ibv_qp_attr. */
import { type AddressVector, nativeVector, vectorFromNative } from './address-handle.js';
import {
  type Access,
  accessFlags,
  accessNames,
  mtuBytes,
  type MtuBytes,
  mtuNumber,
  nameOf,
  numberOf,
  QP_STATE,
  type QueuePairState,
} from './enumerations.js';
import type { NativeQpAttributes, NativeQpQuery, QueuePairCapabilities } from './native.js';

/** What ibv_modify_qp(3) can set; what is not given stays. Times are in the codes of the specification. */
export interface QueuePairAttributes {
  /** The state to go to. */
  readonly qpState?: QueuePairState;
  /** The state that the program takes the queue pair to be in. */
  readonly curQpState?: QueuePairState;
  /** Bytes of data in a packet (RC, UC). */
  readonly pathMtu?: MtuBytes;
  /** 0 migrated, 1 re-arm, 2 armed. */
  readonly pathMigState?: number;
  /** The key that datagrams to it must carry (UD). */
  readonly qkey?: number;
  /** The sequence number of the first packet that it receives, 24 bits (RC, UC). */
  readonly rqPsn?: number;
  /** The sequence number of the first packet that it sends, 24 bits. */
  readonly sqPsn?: number;
  /** The peer's number (RC, UC). */
  readonly destQpNum?: number;
  /** What the peer may do with memory of this side (RC, UC). */
  readonly qpAccessFlags?: readonly Access[];
  /** Its sizes, where the device can change them. */
  readonly cap?: Partial<QueuePairCapabilities>;
  /** The path to the peer (RC, UC). */
  readonly ahAttr?: AddressVector;
  /** The path to go to when that one fails (RC, UC). */
  readonly altAhAttr?: AddressVector;
  /** The partition, as an index into the port's table. */
  readonly pkeyIndex?: number;
  /** The same for the alternate path. */
  readonly altPkeyIndex?: number;
  /** 1: an event `SQ_DRAINED` is raised when the state `SQD` is reached. */
  readonly enSqdAsyncNotify?: number;
  /** Reads and atomics of this side in flight (RC). */
  readonly maxRdAtomic?: number;
  /** Reads and atomics of the peer that are served at a time (RC). */
  readonly maxDestRdAtomic?: number;
  /** 0 to 31: see ibv_modify_qp(3). 12 is 0.64 ms. */
  readonly minRnrTimer?: number;
  /** The port, from 1 on. */
  readonly portNum?: number;
  /** 4.096 µs · 2^timeout until a retry; 0 is for ever. */
  readonly timeout?: number;
  /** How often a packet is sent again, 0 to 7 (RC). */
  readonly retryCnt?: number;
  /** 7 is for ever. */
  readonly rnrRetry?: number;
  /** The port of the alternate path. */
  readonly altPortNum?: number;
  /** `timeout` on the alternate path. */
  readonly altTimeout?: number;
  /** Kilobits per second that it sends at most; 0 is without limit. */
  readonly rateLimit?: number;
}

export type { QueuePairCapabilities };

/** What ibv_query_qp(3) tells. */
export interface QueuePairQuery {
  /** The state that it is in. */
  readonly qpState: QueuePairState;
  /** The same; verbs define it for changes alone. */
  readonly curQpState: QueuePairState;
  /** Bytes of data in a packet (RC, UC). */
  readonly pathMtu: MtuBytes;
  /** 0 migrated, 1 re-arm, 2 armed. */
  readonly pathMigState: number;
  /** The key that datagrams to it must carry (UD). */
  readonly qkey: number;
  /** The sequence number of the packet that it expects next, 24 bits (RC, UC). */
  readonly rqPsn: number;
  /** The sequence number of the packet that it sends next, 24 bits. */
  readonly sqPsn: number;
  /** The peer's number (RC, UC). */
  readonly destQpNum: number;
  /** What the peer may do with memory of this side. */
  readonly qpAccessFlags: readonly Access[];
  /** Its sizes. */
  readonly cap: QueuePairCapabilities;
  /** The path to the peer (RC, UC). */
  readonly ahAttr: AddressVector;
  /** The partition, as an index into the port's table. */
  readonly pkeyIndex: number;
  /** 1 while the send queue is being drained, in the state `SQD`. */
  readonly sqDraining: number;
  /** Reads and atomics of this side in flight (RC). */
  readonly maxRdAtomic: number;
  /** Reads and atomics of the peer that are served at a time (RC). */
  readonly maxDestRdAtomic: number;
  /** Code of the time that the peer is told to wait while no receive is posted here. */
  readonly minRnrTimer: number;
  /** The port, from 1 on. */
  readonly portNum: number;
  /** 4.096 µs · 2^timeout until a retry; 0 is for ever. */
  readonly timeout: number;
  /** How often a packet is sent again (RC). */
  readonly retryCnt: number;
  /** Retries while the peer has no receive posted; 7 is for ever. */
  readonly rnrRetry: number;
}

export function attributesToNative(
  call: string,
  attributes: QueuePairAttributes,
): NativeQpAttributes {
  const { qpState, curQpState, pathMtu, qpAccessFlags, ahAttr, altAhAttr, cap, ...numbers } =
    attributes;
  return {
    ...numbers,
    ...(qpState === undefined ? {} : { qpState: numberOf(call, 'state', QP_STATE, qpState) }),
    ...(curQpState === undefined
      ? {}
      : { curQpState: numberOf(call, 'state', QP_STATE, curQpState) }),
    ...(pathMtu === undefined ? {} : { pathMtu: mtuNumber(call, pathMtu) }),
    ...(qpAccessFlags === undefined ? {} : { qpAccessFlags: accessFlags(call, qpAccessFlags) }),
    ...(ahAttr === undefined ? {} : { ahAttr: nativeVector(call, ahAttr) }),
    ...(altAhAttr === undefined ? {} : { altAhAttr: nativeVector(call, altAhAttr) }),
    ...(cap === undefined ? {} : { cap }),
  };
}

export function queryFromNative(query: NativeQpQuery): QueuePairQuery {
  const number = (name: string): number => query[name] ?? 0;
  return {
    qpState: nameOf(QP_STATE, number('qpState')) as QueuePairState,
    curQpState: nameOf(QP_STATE, number('curQpState')) as QueuePairState,
    pathMtu: mtuBytes(number('pathMtu')),
    pathMigState: number('pathMigState'),
    qkey: number('qkey'),
    rqPsn: number('rqPsn'),
    sqPsn: number('sqPsn'),
    destQpNum: number('destQpNum'),
    qpAccessFlags: accessNames(number('qpAccessFlags')),
    cap: query.cap,
    ahAttr: vectorFromNative(query.ahAttr),
    pkeyIndex: number('pkeyIndex'),
    sqDraining: number('sqDraining'),
    maxRdAtomic: number('maxRdAtomic'),
    maxDestRdAtomic: number('maxDestRdAtomic'),
    minRnrTimer: number('minRnrTimer'),
    portNum: number('portNum'),
    timeout: number('timeout'),
    retryCnt: number('retryCnt'),
    rnrRetry: number('rnrRetry'),
  };
}
