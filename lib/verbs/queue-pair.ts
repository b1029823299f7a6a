/** Queue pairs: where work requests are posted. */
import { randomInt } from 'node:crypto';

import type { Device } from './device.js';
import type { Endpoint, EndpointOptions } from './endpoint.js';
import {
  type Access,
  type MtuBytes,
  numberOf,
  QP_TYPE,
  type QueuePairState,
  type QueuePairType,
  sendOperations,
  SIGNALED,
} from './enumerations.js';
import { argumentError, attempt, problemOf, UnsupportedError, VerbsError } from './errors.js';
import { gidBytes } from './gid.js';
import { bindingNumbers, type MemoryWindow, type WindowBinding } from './memory-window.js';
import { Memberships } from './multicast.js';
import { native, postRecv, postSend } from './native.js';
import { explainPath, type PathExplanation } from './path-explanation.js';
import { checkPosted } from './post-errors.js';
import type { ProtectionDomain } from './protection-domain.js';
import {
  attributesToNative,
  queryFromNative,
  type QueuePairAttributes,
  type QueuePairCapabilities,
  type QueuePairQuery,
} from './queue-pair-attributes.js';
import { type ReceiveWorkRequest, writeReceives } from './receive-work-request.js';
import type { ConnectOptions, Ece, QueuePairOptions } from './queue-pair-options.js';
import { Resource } from './resource.js';
import { ReceiveRing } from './rings/receive-ring.js';
import { SendRing } from './rings/send-ring.js';
import { type SendWorkRequest, writeSend } from './send-work-request.js';
import { diagnoseModify } from './transitions.js';
import type { XrcDomain } from './xrc-domain.js';

const REMOTE_ACCESS: readonly Access[] = [
  'local-write',
  'remote-write',
  'remote-read',
  'remote-atomic',
];
const UC_ACCESS: readonly Access[] = ['local-write', 'remote-write'];
const PSN_LIMIT = 1 << 24;

interface OwnEnd {
  readonly port: number;
  readonly gidIndex: number;
  readonly endpoint: Endpoint;
}

/**
 * A queue pair (ibv_create_qp(3)). Made by `pd.createQp`, and by `xrcd.createQp` for `XRC_RECV`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const a = pd.createQp({ type: 'RC', sendCq: cq });
 * const b = pd.createQp({ type: 'RC', sendCq: cq });
 * a.connect(b.endpoint()); // in life the endpoints travel as JSON
 * b.connect(a.endpoint());
 *
 * const bytes = Buffer.from('hello, ......');
 * const mr = pd.registerMemory(bytes);
 * b.postRecv({ id: 1, sge: mr.slice(7, 5) });
 * a.postSend({ id: 2, opcode: 'send', sge: mr.slice(0, 5), signaled: true });
 * for (let done = 0; done < 2; done++) (await cq.next({ timeoutMs: 5000 })).check();
 * console.log(bytes.toString()); // prints hello, hello.
 * ```
 */
export class QueuePair extends Resource {
  /** The device that it is on. */
  readonly device: Device;
  /** The service it offers. */
  readonly type: QueuePairType;
  /** Its number on the device, 24 bits: what the peer addresses. */
  readonly qpNum: number;
  /** The sizes that it got, which may be more than asked for. */
  readonly cap: QueuePairCapabilities;
  /** Whether every send request makes a completion, asked for or not. */
  readonly signalAll: boolean;
  /** Whether its receives come from a shared receive queue. */
  readonly hasSharedReceiveQueue: boolean;
  #end: OwnEnd | undefined;
  #scratch: SendRing | undefined;
  #receives: ReceiveRing | undefined;
  readonly #memberships = new Memberships();

  /** @internal */
  static create(
    device: Device,
    pd: ProtectionDomain | undefined,
    xrcDomain: XrcDomain | undefined,
    options: QueuePairOptions,
  ): QueuePair {
    const call = xrcDomain === undefined ? 'pd.createQp' : 'xrcd.createQp';
    const type = numberOf(call, 'type', QP_TYPE, options.type);
    const isTarget = options.type === 'XRC_RECV';
    if (isTarget !== (xrcDomain !== undefined)) {
      throw argumentError(call, "an XRC domain makes queue pairs of type 'XRC_RECV' and no other", {
        type: options.type,
      });
    }
    const { sendCq, recvCq = options.type === 'XRC_SEND' ? undefined : sendCq, srq } = options;
    if (!isTarget && sendCq === undefined) {
      throw argumentError(call, 'sendCq is needed: device.createCq() makes one', {
        type: options.type,
      });
    }
    const receives = isTarget || options.type === 'XRC_SEND' || srq !== undefined ? 0 : 64;
    const description = {
      context: device.handle,
      pd: pd?.handle ?? 0,
      xrcd: xrcDomain?.handle ?? 0,
      sendCq: sendCq?.handle ?? 0,
      recvCq: recvCq?.handle ?? 0,
      srq: srq?.handle ?? 0,
      type,
      sqSigAll: options.signalAll === true,
      createFlags: options.createFlags ?? 0,
      sendOps: sendOperations(options.sendOps ?? []),
      maxSendWr: isTarget ? 0 : (options.maxSendWr ?? 64),
      maxRecvWr: options.maxRecvWr ?? receives,
      maxSendSge: isTarget ? 0 : (options.maxSendSge ?? 1),
      maxRecvSge: options.maxRecvSge ?? (receives > 0 ? 1 : 0),
      maxInlineData: options.maxInlineBytes ?? 0,
    };
    const { maxSendWr, maxRecvWr, maxSendSge, maxRecvSge, maxInlineData } = description;
    const operands = {
      type: options.type,
      maxSendWr,
      maxRecvWr,
      maxSendSge,
      maxRecvSge,
      maxInlineBytes: maxInlineData,
    };
    const made = attempt(call, operands, () => native.createQp(description));
    const parents = [pd, xrcDomain, sendCq, recvCq, srq].filter((each) => each !== undefined);
    const qp = new QueuePair(device, [...new Set<Resource>(parents)], made, options);
    device.pitfalls?.created(qp, sendCq, recvCq);
    return qp;
  }

  private constructor(
    device: Device,
    parents: readonly Resource[],
    made: { readonly handle: number; readonly qpNum: number; readonly cap: QueuePairCapabilities },
    options: QueuePairOptions,
  ) {
    super('queue pair', made.handle, parents);
    this.device = device;
    this.type = options.type;
    this.qpNum = made.qpNum;
    this.cap = made.cap;
    this.signalAll = options.signalAll === true;
    this.hasSharedReceiveQueue = options.srq !== undefined;
  }

  /**
   * This end, to give to the peer. Its port, GID index and PSN are those that `connect` uses.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when the device has no such port or GID.
   */
  endpoint(options: EndpointOptions = {}): Endpoint {
    this.openHandle('qp.endpoint');
    const { port = this.#end?.port ?? 1 } = options;
    const attributes = this.device.queryPort(port);
    if (options.gidIndex !== undefined && !(options.gidIndex < attributes.gidTblLen)) {
      throw argumentError(
        'qp.endpoint',
        `port ${port} has no GID ${options.gidIndex}: its table has ${attributes.gidTblLen} entries, ` +
          'which device.gidTable() lists',
        { port, gidIndex: options.gidIndex },
      );
    }
    const gidIndex = options.gidIndex ?? this.#end?.gidIndex ?? this.device.preferredGid(port);
    const endpoint = {
      type: this.type,
      qpn: this.qpNum,
      psn: options.psn ?? this.#end?.endpoint.psn ?? randomInt(PSN_LIMIT),
      lid: attributes.lid,
      gid: attributes.gidTblLen > gidIndex ? this.device.queryGid(port, gidIndex) : null,
      mtu: attributes.activeMtu,
      // The highest bit would mean "the queue pair's own" in a work request (InfiniBand Vol. 1, 10.2.5).
      qkey: options.qkey ?? this.#end?.endpoint.qkey ?? randomInt(1, 2 ** 31),
    };
    this.#end = { port, gidIndex, endpoint };
    return endpoint;
  }

  /**
   * Makes the queue pair ready to send and receive: RESET → INIT → RTR → RTS.
   *
   * @param remote the peer's `endpoint()`, for connected types; not given for UD and raw packets
   * @throws VerbsError `ERR_VERBS_MODIFY` naming the state change and its attributes.
   */
  connect(remote?: Endpoint, options: ConnectOptions = {}): void {
    this.openHandle('qp.connect');
    const datagrams = this.type === 'UD' || this.type === 'RAW_PACKET';
    if (datagrams !== (remote === undefined)) {
      throw argumentError(
        'qp.connect',
        datagrams
          ? `a queue pair of type ${this.type} has no one peer; call connect() without an endpoint`
          : `a queue pair of type ${this.type} needs its peer's endpoint()`,
        { type: this.type },
      );
    }
    this.prepare(options);
    if (remote === undefined) {
      this.modify({ qpState: 'RTR' });
      this.modify({
        qpState: 'RTS',
        ...(this.type === 'UD' ? { sqPsn: this.#own().endpoint.psn } : {}),
      });
      return;
    }
    this.#readyToReceive(remote, options);
    this.#readyToSend(options);
  }

  /** The first step of `connect`, RESET → INIT: from then on receives can be posted. Twice is harmless. */
  prepare(options: Pick<ConnectOptions, 'access' | 'pkeyIndex'> = {}): void {
    const { port, endpoint } = this.#own();
    if (this.query().qpState !== 'RESET') return;
    const { pkeyIndex = 0 } = options;
    if (this.type === 'RAW_PACKET') {
      this.modify({ qpState: 'INIT', portNum: port });
    } else if (this.type === 'UD') {
      this.modify({ qpState: 'INIT', portNum: port, pkeyIndex, qkey: endpoint.qkey });
    } else {
      const qpAccessFlags = options.access ?? (this.type === 'UC' ? UC_ACCESS : REMOTE_ACCESS);
      this.modify({ qpState: 'INIT', portNum: port, pkeyIndex, qpAccessFlags });
    }
  }

  #own(): OwnEnd {
    if (this.#end === undefined) this.endpoint();
    return this.#end as OwnEnd;
  }

  #readyToReceive(remote: Endpoint, options: ConnectOptions): void {
    const { port, gidIndex, endpoint } = this.#own();
    const ethernet = this.device.queryPort(port).linkLayer === 'Ethernet';
    const { sl = 0, trafficClass = 0, hopLimit = 64, minRnrTimer = 12 } = options;
    if (remote.gid !== null) gidBytes('qp.connect', remote.gid);
    // Within a subnet of InfiniBand the LID leads to the peer; Ethernet has no LIDs (annex A17).
    const global = remote.gid !== null && (ethernet || remote.lid === 0);
    const reads = this.type === 'RC' || this.type === 'XRC_RECV';
    const { maxQpRdAtom } = this.device.query();
    this.modify({
      qpState: 'RTR',
      pathMtu: options.mtu ?? (Math.min(endpoint.mtu, remote.mtu) as MtuBytes),
      destQpNum: remote.qpn,
      rqPsn: remote.psn,
      ...(reads
        ? { maxDestRdAtomic: options.maxDestRdAtomic ?? Math.min(16, maxQpRdAtom), minRnrTimer }
        : {}),
      ahAttr: {
        portNum: port,
        dlid: remote.lid,
        sl,
        ...(global && remote.gid !== null
          ? { dgid: remote.gid, sgidIndex: gidIndex, hopLimit, trafficClass }
          : {}),
      },
    });
  }

  #readyToSend(options: ConnectOptions): void {
    const { endpoint } = this.#own();
    const { timeout = 14, retryCnt = 7, rnrRetry = 7 } = options;
    const { maxQpInitRdAtom } = this.device.query();
    const sqPsn = endpoint.psn;
    if (this.type === 'UC') {
      this.modify({ qpState: 'RTS', sqPsn });
    } else if (this.type === 'XRC_RECV') {
      this.modify({ qpState: 'RTS', sqPsn, timeout });
    } else {
      const maxRdAtomic = options.maxRdAtomic ?? Math.min(16, maxQpInitRdAtom);
      this.modify({ qpState: 'RTS', sqPsn, timeout, retryCnt, rnrRetry, maxRdAtomic });
    }
  }

  /**
   * Changes attributes (ibv_modify_qp(3)).
   *
   * @throws VerbsError `ERR_VERBS_MODIFY` with the attributes that this change lacks or does not allow.
   */
  modify(attributes: QueuePairAttributes): void {
    const handle = this.openHandle('qp.modify');
    const converted = attributesToNative('qp.modify', attributes);
    const from = this.query().qpState;
    if (attributes.qpState === 'RTR') this.device.pitfalls?.becameReady(this);
    try {
      attempt('qp.modify', {}, () => native.modifyQp(handle, converted));
    } catch (cause) {
      if (!(cause instanceof VerbsError)) throw cause;
      throw this.#modifyError(from, attributes, cause);
    }
  }

  #modifyError(
    from: QueuePairState,
    attributes: QueuePairAttributes,
    cause: VerbsError,
  ): VerbsError {
    const { transition, missing, notAllowed, text } = diagnoseModify(this.type, from, attributes);
    const problem = problemOf(cause);
    const isRight = missing.length === 0 && notAllowed.length === 0;
    if (isRight && cause instanceof UnsupportedError) return cause;
    const details = {
      call: 'qp.modify',
      verb: 'ibv_modify_qp',
      operands: { qpNum: this.qpNum, type: this.type, transition, missing, notAllowed },
      cause,
      ...(cause.errno === undefined ? {} : { errno: cause.errno }),
    };
    return new VerbsError(
      'ERR_VERBS_MODIFY',
      `qp.modify: queue pair ${this.qpNum} (${this.type}) could not go ${transition}: ${problem === '' ? text : problem}`,
      details,
    );
  }

  /** Its state and attributes (ibv_query_qp(3)). */
  query(): QueuePairQuery {
    const handle = this.openHandle('qp.query');
    return queryFromNative(attempt('qp.query', {}, () => native.queryQp(handle)));
  }

  /**
   * Which path the data takes to the peer and why, where the device can say it.
   *
   * @throws UnsupportedError on providers other than the software HCA.
   */
  explain(): PathExplanation {
    return explainPath(this.openHandle('qp.explain'));
  }

  /**
   * Posts send requests (ibv_post_send(3)).
   *
   * @throws VerbsError `ERR_VERBS_POST`; its operand `posted` says how many were posted before the one refused.
   */
  postSend(requests: SendWorkRequest | readonly SendWorkRequest[]): void {
    this.openHandle('qp.postSend');
    this.#scratch ??= SendRing.create(this, 16, this.cap.maxSendSge, this.cap.maxInlineData);
    const ring = this.#scratch;
    const list: readonly SendWorkRequest[] = Array.isArray(requests)
      ? requests
      : [requests as SendWorkRequest];
    for (let done = 0; done < list.length; done += ring.capacity) {
      const batch = list.slice(done, done + ring.capacity);
      batch.forEach((request, slot) => writeSend(ring, slot, request));
      this.post(ring, 0, batch.length);
      for (const request of batch) {
        if (request.opcode !== 'bind-mw' || request.window === undefined) continue;
        if (request.bind === undefined) continue;
        const rkey = request.rkey ?? request.window.nextRkey();
        request.window.bound(request.bind.region, rkey, this);
      }
    }
  }

  /**
   * Posts `count` requests of a ring, from slot `first` on, by one native call (ibv_post_send(3)).
   *
   * @throws VerbsError `ERR_VERBS_POST`, or `ERR_VERBS_MEMORY` where the memory of a region was given away; the
   *   operand `posted` says how many were posted before the one refused.
   */
  post(ring: SendRing, first: number, count: number): void {
    if (this.device.pitfalls !== undefined) {
      this.device.pitfalls.sending(this, ring, first, count);
    }
    const outcome = postSend(this.handle, ring.handle, first >>> 0, count >>> 0);
    if (outcome !== count) checkPosted('qp.post', 'queue pair', 'ibv_post_send', outcome, count);
  }

  /**
   * Posts receives (ibv_post_recv(3)). Messages take them in this order.
   *
   * @throws VerbsError `ERR_VERBS_POST`, `ERR_VERBS_MEMORY` as `post`.
   */
  postRecv(requests: ReceiveWorkRequest | readonly ReceiveWorkRequest[]): void {
    this.openHandle('qp.postRecv');
    this.#receives ??= ReceiveRing.create(this, 16, this.cap.maxRecvSge);
    const ring = this.#receives;
    writeReceives(ring, requests, (count) => this.postReceives(ring, 0, count));
  }

  /**
   * Posts `count` receives of a ring, from slot `first` on, by one native call.
   *
   * @throws VerbsError `ERR_VERBS_POST`, `ERR_VERBS_MEMORY` as `post`.
   */
  postReceives(ring: ReceiveRing, first: number, count: number): void {
    this.device.pitfalls?.receiving(this);
    const outcome = postRecv(this.handle, ring.handle, first >>> 0, count >>> 0);
    if (outcome !== count) {
      checkPosted('qp.postReceives', 'queue pair', 'ibv_post_recv', outcome, count);
    }
  }

  /**
   * Makes a ring of send requests, each with room for this queue pair's pieces and inline bytes.
   *
   * @param capacity slots, 1 to 1048575
   * @throws VerbsError `ERR_VERBS_ARGUMENT` for another number.
   */
  sendRing(capacity: number): SendRing {
    this.openHandle('qp.sendRing');
    return SendRing.create(this, capacity, this.cap.maxSendSge, this.cap.maxInlineData);
  }

  /**
   * Makes a ring of receives, each with room for this queue pair's pieces.
   *
   * @param capacity slots, 1 to 1048575
   * @throws VerbsError `ERR_VERBS_ARGUMENT` for another number.
   */
  receiveRing(capacity: number): ReceiveRing {
    this.openHandle('qp.receiveRing');
    return ReceiveRing.create(this, capacity, this.cap.maxRecvSge);
  }

  /**
   * Binds a type 1 window (ibv_bind_mw(3)); it completes like a send request. Returns the window's new key.
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when the binding does not lie within its region; UnsupportedError on
   *   devices without windows of type 1.
   */
  bindWindow(
    window: MemoryWindow,
    binding: WindowBinding,
    options: { readonly id?: number; readonly signaled?: boolean } = {},
  ): number {
    const handle = this.openHandle('qp.bindWindow');
    const { offset, length, access } = bindingNumbers('qp.bindWindow', binding);
    const { region } = binding;
    const rkey = attempt('qp.bindWindow', { offset, length }, () =>
      native.bindMw(
        handle,
        window.handle,
        options.id ?? 0,
        options.signaled === true ? SIGNALED : 0,
        region.handle,
        region.address + BigInt(offset),
        BigInt(length),
        access,
      ),
    );
    window.bound(region, rkey, this);
    return rkey;
  }

  /**
   * Joins a multicast group (ibv_attach_mcast(3)); UD only. Closing the queue pair leaves all groups.
   *
   * @param gid the group's GID, which begins with `ff`
   * @param lid the group's local identifier (InfiniBand)
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when it is no group's GID, or the queue pair not UD.
   */
  attachMcast(gid: string, lid = 0): void {
    this.#memberships.join(this.openHandle('qp.attachMcast'), gid, lid);
  }

  /** Leaves a multicast group that it has joined (ibv_detach_mcast(3)). */
  detachMcast(gid: string, lid = 0): void {
    this.#memberships.leave(this.openHandle('qp.detachMcast'), gid, lid);
  }

  /** What this adapter offers beyond the specification (ibv_query_ece(3)). */
  queryEce(): Ece {
    const handle = this.openHandle('qp.queryEce');
    return attempt('qp.queryEce', {}, () => native.queryEce(handle));
  }

  /** Agrees to what the peer's adapter offers (ibv_set_ece(3)). */
  setEce(ece: Ece): void {
    const handle = this.openHandle('qp.setEce');
    attempt('qp.setEce', { ...ece }, () => native.setEce(handle, ece));
  }

  protected override beforeClose(): void {
    this.#memberships.leaveAll(this.handle);
    this.device.pitfalls?.closed(this);
  }
}
