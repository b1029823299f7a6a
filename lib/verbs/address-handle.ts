/** Address vectors and address handles: where packets go. */
import { attempt } from './errors.js';
import { gidBytes, gidText } from './gid.js';
import { native, type NativeAddressVector } from './native.js';
import type { ProtectionDomain } from './protection-domain.js';
import { Resource } from './resource.js';
import type { WorkCompletion } from './work-completion.js';

/** A path to a port, as in ibv_ah_attr. */
export interface AddressVector {
  /** The port of this device to send from. Default 1. */
  readonly portNum?: number;
  /** The destination's local identifier (InfiniBand). Default 0. */
  readonly dlid?: number;
  /** The destination's GID, in eight groups of hexadecimal digits; required on Ethernet. */
  readonly dgid?: string;
  /** The index of this port's own GID to send from. Default 0. */
  readonly sgidIndex?: number;
  /** 20 bits that ask routers to treat a flow of packets alike. Default 0. */
  readonly flowLabel?: number;
  /** How many routers a packet may pass. Default 64. */
  readonly hopLimit?: number;
  /** 8 bits that routers choose a queue by; on Ethernet they become the DSCP and ECN of IP. Default 0. */
  readonly trafficClass?: number;
  /** Service level, 0 to 15, which switches choose a virtual lane by; on Ethernet the priority. Default 0. */
  readonly sl?: number;
  /** Added to the port's own LID, to send from another of its 2^`lmc` LIDs. Default 0. */
  readonly srcPathBits?: number;
  /** The fastest rate to send at, as a number of ibv_rate. Default 0: that of the port. */
  readonly staticRate?: number;
}

export function nativeVector(call: string, vector: AddressVector): NativeAddressVector {
  const local = {
    portNum: vector.portNum ?? 1,
    dlid: vector.dlid ?? 0,
    sl: vector.sl ?? 0,
    srcPathBits: vector.srcPathBits ?? 0,
    staticRate: vector.staticRate ?? 0,
  };
  if (vector.dgid === undefined) return local;
  return {
    ...local,
    isGlobal: 1,
    dgid: gidBytes(call, vector.dgid),
    sgidIndex: vector.sgidIndex ?? 0,
    flowLabel: vector.flowLabel ?? 0,
    hopLimit: vector.hopLimit ?? 64,
    trafficClass: vector.trafficClass ?? 0,
  };
}

export function vectorFromNative(vector: Required<NativeAddressVector>): AddressVector {
  const { portNum, dlid, sl, srcPathBits, staticRate } = vector;
  const local = { portNum, dlid, sl, srcPathBits, staticRate };
  if (vector.isGlobal === 0) return local;
  const { sgidIndex, flowLabel, hopLimit, trafficClass } = vector;
  return { ...local, dgid: gidText(vector.dgid), sgidIndex, flowLabel, hopLimit, trafficClass };
}

/**
 * Where datagrams of a UD queue pair go (ibv_create_ah(3)). Made by `pd.createAh`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const a = pd.createQp({ type: 'UD', sendCq: cq });
 * const b = pd.createQp({ type: 'UD', sendCq: cq });
 * const to = b.endpoint(); // in life it comes from the peer, as JSON
 * a.connect();
 * b.connect();
 *
 * const mr = pd.registerMemory(Buffer.from('hello'.padEnd(64)));
 * b.postRecv({ id: 1, sge: mr.slice(16, 48) }); // 40 bytes of header come first
 * a.postSend({
 *   id: 2,
 *   opcode: 'send',
 *   sge: mr.slice(0, 5),
 *   address: pd.createAh({ dlid: to.lid, ...(to.gid === null ? {} : { dgid: to.gid }) }),
 *   remoteQpn: to.qpn,
 *   remoteQkey: to.qkey,
 * });
 * const { id, byteLen } = (await cq.next({ timeoutMs: 5000 })).check();
 * console.log(id, byteLen); // prints 1 45
 * ```
 */
export class AddressHandle extends Resource {
  /** @internal */
  static create(pd: ProtectionDomain, vector: AddressVector): AddressHandle {
    const converted = nativeVector('pd.createAh', vector);
    const handle = attempt('pd.createAh', { ...vector }, () =>
      native.createAh(pd.handle, converted),
    );
    return new AddressHandle(pd, handle);
  }

  /** @internal */
  static fromCompletion(
    pd: ProtectionDomain,
    completion: WorkCompletion,
    header: Uint8Array,
    port: number,
  ): AddressHandle {
    const { srcQp, slid, sl, dlidPathBits, pkeyIndex, flags } = completion;
    const handle = attempt('pd.createAhFromCompletion', { srcQp, slid }, () =>
      native.createAhFromWc(
        pd.handle,
        { srcQp, slid, sl, dlidPathBits, pkeyIndex, wcFlags: flags },
        header,
        port,
      ),
    );
    return new AddressHandle(pd, handle);
  }

  private constructor(pd: ProtectionDomain, handle: number) {
    super('address handle', handle, [pd]);
  }
}
