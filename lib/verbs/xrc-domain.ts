/** XRC domains: which processes' queue pairs may deliver into which shared receive queues. */
import { constants } from 'node:fs';

import type { Device } from './device.js';
import { attempt } from './errors.js';
import { native } from './native.js';
import { QueuePair } from './queue-pair.js';
import type { XrcTargetOptions } from './queue-pair-options.js';
import { Resource } from './resource.js';

/** What `device.openXrcd` is to open or make. */
export interface XrcDomainOptions {
  /** A file whose inode names the domain to other processes. Default: a domain of this process alone. */
  readonly descriptor?: number;
  /** Whether to make it if it is not there. Default true. */
  readonly create?: boolean;
  /** Whether it must not be there yet. Default false. */
  readonly exclusive?: boolean;
}

/**
 * An XRC domain (ibv_open_xrcd(3)). Made by `device.openXrcd`.
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const xrcDomain = device.openXrcd();
 * const srq = pd.createSrq({ xrcDomain, cq });
 * const target = xrcDomain.createQp(); // for one sending process
 * const initiator = pd.createQp({ type: 'XRC_SEND', sendCq: cq });
 * initiator.connect(target.endpoint());
 * target.connect(initiator.endpoint());
 *
 * const mr = pd.registerMemory(Buffer.from('hello, ......'));
 * srq.postRecv({ id: 1, sge: mr.slice(7, 5) });
 * initiator.postSend({ opcode: 'send', sge: mr.slice(0, 5), remoteSrqn: srq.srqNum });
 * console.log((await cq.next({ timeoutMs: 5000 })).check().id); // prints 1
 * ```
 */
export class XrcDomain extends Resource {
  /** What it was made from. */
  readonly device: Device;

  /** @internal */
  static open(device: Device, options: XrcDomainOptions): XrcDomain {
    const { descriptor = -1, create = true, exclusive = false } = options;
    const flags = (create ? constants.O_CREAT : 0) | (exclusive ? constants.O_EXCL : 0);
    const handle = attempt('device.openXrcd', { descriptor }, () =>
      native.openXrcd(device.handle, descriptor, flags),
    );
    return new XrcDomain(device, handle);
  }

  private constructor(device: Device, handle: number) {
    super('XRC domain', handle, [device]);
    this.device = device;
  }

  /** The receiving end of XRC connections, of type `XRC_RECV`: it delivers to the domain's shared receive queues. */
  createQp(options: XrcTargetOptions = {}): QueuePair {
    this.openHandle('xrcd.createQp');
    return QueuePair.create(this.device, undefined, this, { ...options, type: 'XRC_RECV' });
  }
}
