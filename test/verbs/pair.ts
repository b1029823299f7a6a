/** Two connected queue pairs on the device under test, each with memory of its own. */
import type { Test } from 'tap';

import {
  type CompletionQueue,
  type ConnectOptions,
  type Device,
  type MemoryRegion,
  openDevice,
  type ProtectionDomain,
  type QueuePair,
  type QueuePairOptions,
  type WorkCompletion,
} from 'viaduct/verbs';

export const deviceName = process.env['VIADUCT_TEST_DEVICE'] ?? 'softhca0';

export const ALL_ACCESS = [
  'local-write',
  'remote-write',
  'remote-read',
  'remote-atomic',
  'mw-bind',
] as const;

export interface Side {
  readonly pd: ProtectionDomain;
  readonly cq: CompletionQueue;
  readonly qp: QueuePair;
  readonly region: MemoryRegion;
  readonly bytes: Uint8Array;
}

export function open(t: Test): Device {
  const device = openDevice(deviceName);
  t.teardown(() => device.close());
  return device;
}

export interface PairOptions extends Partial<
  Pick<QueuePairOptions, 'type' | 'sendOps' | 'maxInlineBytes'>
> {
  readonly sizeBytes?: number;
  readonly connect?: ConnectOptions;
  readonly extended?: boolean;
}

export function side(device: Device, options: PairOptions): Side {
  const { sizeBytes = 4096, extended = false, type = 'RC', sendOps, maxInlineBytes = 0 } = options;
  const pd = device.allocPd();
  const cq = device.createCq(256, extended ? { extended: ['timestamp'] } : {});
  const qp = pd.createQp({
    type,
    sendCq: cq,
    maxSendSge: 4,
    maxRecvSge: 4,
    maxInlineBytes,
    ...(sendOps === undefined ? {} : { sendOps }),
  });
  const bytes = new Uint8Array(sizeBytes);
  const region = pd.registerMemory(bytes, ALL_ACCESS);
  return { pd, cq, qp, region, bytes };
}

/** Connected, with nothing posted. */
export function pair(t: Test, options: PairOptions = {}): { device: Device; a: Side; b: Side } {
  const device = open(t);
  const a = side(device, options);
  const b = side(device, options);
  if (options.type === 'UD') {
    a.qp.connect();
    b.qp.connect();
  } else {
    a.qp.connect(b.qp.endpoint(), options.connect);
    b.qp.connect(a.qp.endpoint(), options.connect);
  }
  return { device, a, b };
}

/** The next completion, which comes within ten seconds or fails the test. */
export function next({ cq }: Side): Promise<WorkCompletion> {
  return cq.next({ timeoutMs: 10_000 });
}

/** Posts a signaled write of 8 bytes from one to the other. */
export function write(from: Side, to: Side): void {
  from.qp.postSend({
    opcode: 'rdma-write',
    sge: from.region.slice(0, 8),
    remote: to.region.remote(),
    signaled: true,
  });
}
