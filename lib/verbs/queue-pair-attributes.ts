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
import type { NativeCap, NativeQpAttributes, NativeQpQuery } from './native.js';

/** What ibv_modify_qp(3) can set; what is not given stays. Times are in the codes of the specification. */
export interface QueuePairAttributes {
  readonly qpState?: QueuePairState;
  /** The state that the program takes the queue pair to be in. */
  readonly curQpState?: QueuePairState;
  readonly pathMtu?: MtuBytes;
  /** 0 migrated, 1 re-arm, 2 armed. */
  readonly pathMigState?: number;
  readonly qkey?: number;
  readonly rqPsn?: number;
  readonly sqPsn?: number;
  readonly destQpNum?: number;
  readonly qpAccessFlags?: readonly Access[];
  readonly cap?: Partial<NativeCap>;
  readonly ahAttr?: AddressVector;
  readonly altAhAttr?: AddressVector;
  readonly pkeyIndex?: number;
  readonly altPkeyIndex?: number;
  readonly enSqdAsyncNotify?: number;
  readonly maxRdAtomic?: number;
  readonly maxDestRdAtomic?: number;
  /** 0 to 31: see ibv_modify_qp(3). 12 is 0.64 ms. */
  readonly minRnrTimer?: number;
  readonly portNum?: number;
  /** 4.096 µs · 2^timeout until a retry; 0 is for ever. */
  readonly timeout?: number;
  readonly retryCnt?: number;
  /** 7 is for ever. */
  readonly rnrRetry?: number;
  readonly altPortNum?: number;
  readonly altTimeout?: number;
  readonly rateLimit?: number;
}

export type QueuePairCapabilities = NativeCap;

/** What ibv_query_qp(3) tells. */
export interface QueuePairQuery {
  readonly qpState: QueuePairState;
  readonly curQpState: QueuePairState;
  readonly pathMtu: MtuBytes;
  readonly pathMigState: number;
  readonly qkey: number;
  readonly rqPsn: number;
  readonly sqPsn: number;
  readonly destQpNum: number;
  readonly qpAccessFlags: readonly Access[];
  readonly cap: QueuePairCapabilities;
  readonly ahAttr: AddressVector;
  readonly pkeyIndex: number;
  readonly sqDraining: number;
  readonly maxRdAtomic: number;
  readonly maxDestRdAtomic: number;
  readonly minRnrTimer: number;
  readonly portNum: number;
  readonly timeout: number;
  readonly retryCnt: number;
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
