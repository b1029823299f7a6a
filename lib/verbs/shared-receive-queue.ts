/** Shared receive queues: receives that many queue pairs take from. */
import type { CompletionQueue } from './completion-queue.js';
import { argumentError, attempt } from './errors.js';
import { native, type NativeSrq, postSrqRecv } from './native.js';
import { checkPosted } from './post-errors.js';
import type { ProtectionDomain } from './protection-domain.js';
import { type ReceiveWorkRequest, writeReceives } from './receive-work-request.js';
import { Resource } from './resource.js';
import { ReceiveRing } from './rings/receive-ring.js';
import type { XrcDomain } from './xrc-domain.js';

/** What `pd.createSrq` is to make. */
export interface SharedReceiveQueueOptions {
  /** Receives that it can hold. Default 256. */
  readonly maxWr?: number;
  /** Pieces of memory for each. Default 1. */
  readonly maxSge?: number;
  /** Makes it an XRC queue, which also needs `cq`. */
  readonly xrcDomain?: XrcDomain;
  /** Where receives of an XRC queue complete. */
  readonly cq?: CompletionQueue;
}

/** What ibv_query_srq(3) tells. */
export interface SharedReceiveQueueQuery {
  /** Receives that it can hold. */
  readonly maxWr: number;
  /** Pieces of memory for each. */
  readonly maxSge: number;
  /** Fewer receives than this raise an event; 0: none will. */
  readonly srqLimit: number;
}

/**
 * A shared receive queue (ibv_create_srq(3)). Made by `pd.createSrq`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(64);
 * const srq = pd.createSrq({ maxWr: 16 });
 * const server = pd.createQp({ type: 'RC', sendCq: cq, srq }); // of many, one for each client
 * const client = pd.createQp({ type: 'RC', sendCq: cq, maxInlineBytes: 8 });
 * server.connect(client.endpoint());
 * client.connect(server.endpoint());
 *
 * srq.postRecv({ id: 1, sge: pd.registerMemory(new Uint8Array(64)).slice() });
 * client.postSend({ opcode: 'send', inline: Buffer.from('hello') });
 * const { qpNum, byteLen } = (await cq.next({ timeoutMs: 5000 })).check();
 * console.log(qpNum === server.qpNum, byteLen); // prints true 5
 * ```
 */
export class SharedReceiveQueue extends Resource {
  /** Receives that it could hold when it was made, which may be more than asked for. */
  readonly maxWr: number;
  /** Pieces of memory for each. */
  readonly maxSge: number;
  /** By which XRC senders name it; 0 unless it is an XRC queue. */
  readonly srqNum: number;
  #scratch: ReceiveRing | undefined;

  /** @internal */
  static create(pd: ProtectionDomain, options: SharedReceiveQueueOptions): SharedReceiveQueue {
    const { maxWr = 256, maxSge = 1, xrcDomain, cq } = options;
    if ((xrcDomain === undefined) !== (cq === undefined)) {
      throw argumentError(
        'pd.createSrq',
        'xrcDomain and cq go together: an XRC queue has both, any other neither',
        { xrcDomain: xrcDomain !== undefined, cq: cq !== undefined },
      );
    }
    const made = attempt('pd.createSrq', { maxWr, maxSge }, () =>
      native.createSrq(
        pd.handle,
        { maxWr, maxSge, srqLimit: 0 },
        xrcDomain?.handle ?? 0,
        cq?.handle ?? 0,
      ),
    );
    const parents: Resource[] = [pd];
    if (xrcDomain !== undefined) parents.push(xrcDomain);
    if (cq !== undefined) parents.push(cq);
    return new SharedReceiveQueue(parents, made);
  }

  private constructor(parents: readonly Resource[], made: NativeSrq) {
    super('shared receive queue', made.handle, parents);
    this.maxWr = made.maxWr;
    this.maxSge = made.maxSge;
    this.srqNum = made.srqNum;
  }

  /**
   * Adds receives (ibv_post_srq_recv(3)).
   *
   * @throws VerbsError `ERR_VERBS_POST` with the number that was taken before the one refused.
   */
  postRecv(requests: ReceiveWorkRequest | readonly ReceiveWorkRequest[]): void {
    this.#scratch ??= ReceiveRing.create(this, 16, this.maxSge);
    const ring = this.#scratch;
    writeReceives(ring, requests, (count) => this.post(ring, 0, count));
  }

  /**
   * Adds `count` receives of a ring, from slot `first` on, by one native call.
   *
   * @throws VerbsError `ERR_VERBS_POST`, `ERR_VERBS_MEMORY`; the operand `posted` says how many were taken.
   */
  post(ring: ReceiveRing, first: number, count: number): void {
    const outcome = postSrqRecv(this.handle, ring.handle, first >>> 0, count >>> 0);
    if (outcome !== count) {
      checkPosted('srq.post', 'shared receive queue', 'ibv_post_srq_recv', outcome, count);
    }
  }

  /**
   * Makes a ring of receives, each with room for this queue's pieces.
   *
   * @param capacity slots, 1 to 1048575
   * @throws VerbsError `ERR_VERBS_ARGUMENT` for another number.
   */
  receiveRing(capacity: number): ReceiveRing {
    this.openHandle('srq.receiveRing');
    return ReceiveRing.create(this, capacity, this.maxSge);
  }

  /**
   * Asks for one `SRQ_LIMIT_REACHED` event when fewer than `limit` receives are left (ibv_modify_srq(3)).
   */
  armLimit(limit: number): void {
    const handle = this.openHandle('srq.armLimit');
    attempt('srq.armLimit', { limit }, () => native.modifySrq(handle, { srqLimit: limit }));
  }

  /** Changes how many receives it can hold, where the device can. */
  resize(maxWr: number): void {
    const handle = this.openHandle('srq.resize');
    attempt('srq.resize', { maxWr }, () => native.modifySrq(handle, { maxWr }));
  }

  /** Its sizes, and its limit: 0 once the event was raised. */
  query(): SharedReceiveQueueQuery {
    const handle = this.openHandle('srq.query');
    return attempt('srq.query', {}, () => native.querySrq(handle));
  }
}
