/** What lib/verbs takes from the addon (native/addon/verbs). Enumerations are the numbers of <infiniband/verbs.h>. */
import { addon } from '../addon/index.js';
import type { ProcessCounters } from './process-counters.js';

/** The number by which native code knows an object; 0 is none. */
export type Handle = number;

export interface NativeDevice {
  readonly name: string;
  readonly guid: bigint;
  readonly nodeType: number;
  readonly transportType: number;
}

export type NativeAttributes = Readonly<Record<string, number | bigint>>;

/** A GID is its 16 bytes. */
export interface NativeAddressVector {
  readonly dlid?: number;
  readonly sl?: number;
  readonly srcPathBits?: number;
  readonly staticRate?: number;
  readonly isGlobal?: number;
  readonly portNum?: number;
  readonly dgid?: Uint8Array;
  readonly flowLabel?: number;
  readonly sgidIndex?: number;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
}

export interface NativeGidEntry {
  readonly gid: Uint8Array;
  readonly gidIndex: number;
  readonly portNum: number;
  readonly gidType: number;
  readonly ndevIfindex: number;
}

export interface NativeRegion {
  readonly handle: Handle;
  readonly lkey: number;
  readonly rkey: number;
  readonly address: bigint;
}

/** The sizes of a queue pair (ibv_qp_cap). */
export interface QueuePairCapabilities {
  /** Send requests that it can hold. */
  readonly maxSendWr: number;
  /** Receives that it can hold. */
  readonly maxRecvWr: number;
  /** Pieces of memory in a send request. */
  readonly maxSendSge: number;
  /** Pieces of memory in a receive. */
  readonly maxRecvSge: number;
  /** Bytes that a request can carry in itself. */
  readonly maxInlineData: number;
}

export interface NativeQpDescription extends QueuePairCapabilities {
  readonly context: Handle;
  readonly pd: Handle;
  readonly xrcd: Handle;
  readonly sendCq: Handle;
  readonly recvCq: Handle;
  readonly srq: Handle;
  readonly type: number;
  readonly sqSigAll: boolean;
  readonly createFlags: number;
  readonly sendOps: bigint;
}

export interface NativeQpAttributes {
  readonly ahAttr?: NativeAddressVector | undefined;
  readonly altAhAttr?: NativeAddressVector | undefined;
  readonly cap?: Partial<QueuePairCapabilities> | undefined;
  readonly [field: string]: unknown;
}

export type NativeQpQuery = Readonly<
  Record<string, number> & {
    ahAttr: Required<NativeAddressVector>;
    altAhAttr: Required<NativeAddressVector>;
    cap: QueuePairCapabilities;
    sqSigAll: boolean;
  }
>;

export interface NativeSrq {
  readonly handle: Handle;
  readonly srqNum: number;
  readonly maxWr: number;
  readonly maxSge: number;
}

export interface NativePath {
  readonly path: number;
  readonly reason: string;
  readonly peerPid: number;
  readonly copyPermitted: number;
  readonly directRegions: number;
  readonly copiedRegions: number;
  readonly directOperations: bigint;
  readonly directBytes: bigint;
  readonly copiedOperations: bigint;
  readonly copiedBytes: bigint;
  readonly packetOperations: bigint;
  readonly packetBytes: bigint;
}

export interface DescriptorWatch {
  /** Keeps the loop alive until stopped. */
  start(): void;
  stop(): void;
  close(): void;
}

type Memory = ArrayBuffer | SharedArrayBuffer;

/** What a registration cache made: `id` names it and one use of it. */
export interface NativeCachedRegion {
  readonly id: number;
  readonly lkey: number;
  readonly rkey: number;
  readonly address: bigint;
  /** Of its first byte within the ArrayBuffer. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface NativeVerbs {
  /** Its number, or why it can't be loaded. */
  loadProvider(path: string): number | string;
  listDevices(provider: number): NativeDevice[];
  openDevice(
    provider: number,
    name: string,
  ): { handle: Handle; asyncDescriptor: number; completionVectors: number };
  queryDevice(context: Handle): NativeAttributes & { fwVer: string };
  queryPort(context: Handle, port: number): Record<string, number>;
  queryGid(context: Handle, port: number, index: number): Uint8Array;
  queryGidTable(context: Handle, most: number): NativeGidEntry[];
  queryCounters(context: Handle): ProcessCounters[];
  queryPkey(context: Handle, port: number, index: number): number;
  takeAsyncEvent(context: Handle): { type: number; handle: Handle; port: number } | null;
  allocPd(context: Handle): Handle;
  registerMemory(
    pd: Handle,
    buffer: Memory,
    offset: number,
    length: number,
    access: number,
    iova: bigint | undefined,
  ): NativeRegion;
  registerDmabuf(
    pd: Handle,
    offset: bigint,
    length: bigint,
    iova: bigint,
    descriptor: number,
    access: number,
  ): NativeRegion;
  reregisterMemory(
    mr: Handle,
    flags: number,
    pd: Handle,
    buffer: Memory | undefined,
    offset: number,
    length: number,
    access: number,
  ): NativeRegion;
  adviseMemory(pd: Handle, advice: number, flags: number, entries: Uint8Array): void;
  allocateShareable(sizeBytes: number): ArrayBuffer;
  createRegistrationCache(
    pd: Handle,
    maxEntries: number | undefined,
    maxBytes: number | undefined,
    trustPeers: boolean,
  ): Handle;
  /** Of memory that `acquireCached` does not find, and that is fit for registration. */
  registerCached(
    cache: Handle,
    memory: Memory | ArrayBufferView,
    access: number,
  ): NativeCachedRegion;
  /** Ends what belonged to ArrayBuffers that were collected. */
  sweepCached(cache: Handle): void;
  cacheStatistics(cache: Handle): Record<string, number>;
  /** RLIMIT_MEMLOCK, or null where this process may pin what it likes. */
  memlockBytes(): number | null;
  allocMw(pd: Handle, type: number): { handle: Handle; rkey: number };
  bindMw(
    qp: Handle,
    mw: Handle,
    id: number,
    flags: number,
    mr: Handle,
    address: bigint,
    length: bigint,
    access: number,
  ): number;
  createChannel(context: Handle): { handle: Handle; descriptor: number };
  takeCqEvents(channel: Handle): Handle[];
  waitForChannel(channel: Handle, timeoutMs: number): boolean;
  createCq(
    context: Handle,
    entries: number,
    channel: Handle,
    vector: number,
    wcFlags: bigint | undefined,
    creationFlags: number,
  ): { handle: Handle; capacity: number };
  resizeCq(cq: Handle, entries: number): number;
  moderateCq(cq: Handle, count: number, periodMicroseconds: number): void;
  requestNotification(cq: Handle, solicitedOnly: boolean): void;
  createQp(description: NativeQpDescription): {
    handle: Handle;
    qpNum: number;
    cap: QueuePairCapabilities;
  };
  modifyQp(qp: Handle, attributes: NativeQpAttributes): void;
  queryQp(qp: Handle): NativeQpQuery;
  queryEce(qp: Handle): { vendorId: number; options: number; compMask: number };
  setEce(qp: Handle, ece: { vendorId: number; options: number; compMask: number }): void;
  /** Enumerations are those of native/softhca/extensions.h. */
  explainQp(qp: Handle): NativePath;
  openXrcd(context: Handle, descriptor: number, flags: number): Handle;
  createSrq(
    pd: Handle,
    attributes: { maxWr: number; maxSge: number; srqLimit: number },
    xrcd: Handle,
    cq: Handle,
  ): NativeSrq;
  modifySrq(srq: Handle, attributes: { maxWr?: number; srqLimit?: number }): void;
  querySrq(srq: Handle): { maxWr: number; maxSge: number; srqLimit: number };
  createAh(pd: Handle, vector: NativeAddressVector): Handle;
  createAhFromWc(
    pd: Handle,
    completion: Readonly<Record<string, number>>,
    header: Uint8Array,
    port: number,
  ): Handle;
  attachMcast(qp: Handle, gid: Uint8Array, lid: number): void;
  detachMcast(qp: Handle, gid: Uint8Array, lid: number): void;
  createRing(
    buffer: ArrayBuffer,
    kind: number,
    capacity: number,
    maxSge: number,
    inlineBytes: number,
  ): Handle;
  /**
   * The functions from here on trust that they are given numbers (`value >>> 0`). These three return the number
   * posted, and `error << 20`; see post-errors.ts.
   */
  readonly postSend: (qp: Handle, ring: Handle, first: number, count: number) => number;
  readonly postRecv: (qp: Handle, ring: Handle, first: number, count: number) => number;
  readonly postSrqRecv: (srq: Handle, ring: Handle, first: number, count: number) => number;
  /** The number of completions at the ring's start, or minus an errno value. */
  readonly pollCq: (cq: Handle, ring: Handle, max: number) => number;
  /** The id of a cached registration with this access, with a use more; -1 if there is none, or it is no memory. */
  readonly acquireCached: (
    cache: Handle,
    memory: Memory | ArrayBufferView,
    access: number,
  ) => number;
  /** Whether it was in use. */
  readonly releaseCached: (cache: Handle, id: number) => boolean;
  /** 0 or an errno value. */
  destroyObject(object: Handle): number;
  readonly DescriptorWatch: new (descriptor: number, onReadable: () => void) => DescriptorWatch;
}

export const native = addon() as NativeVerbs;

/** The hot functions by names of their own: finding them in the addon's exports would take 20 ns each time. */
export const { acquireCached, pollCq, postRecv, postSend, postSrqRecv, releaseCached } = native;
