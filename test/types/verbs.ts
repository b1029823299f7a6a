/** The types of `viaduct/verbs` in full. It is not run: tsc compiles it, and fails where an expected error is none. */
import {
  type Access,
  accessNumber,
  type AddressHandle,
  type AsyncEvent,
  type CachedRegion,
  type CompletionChannel,
  CompletionError,
  type CompletionOpcode,
  type CompletionQueue,
  type CompletionRing,
  type CompletionStatus,
  type Device,
  type DeviceDescription,
  type Endpoint,
  listDevices,
  type MemoryRegion,
  type MemoryWindow,
  openDevice,
  type PathExplanation,
  PITFALL,
  type ProtectionDomain,
  QueuePair,
  type QueuePairQuery,
  type QueuePairState,
  type QueuePairType,
  type ReceiveRing,
  type RegisteredMemory,
  type Registration,
  type RegistrationCache,
  type RegistrationCacheStats,
  type RemoteMemory,
  type SendOpcode,
  type SendRing,
  type SharedReceiveQueue,
  SIGNALED,
  SOLICITED,
  VerbsError,
  type WorkCompletion,
  type XrcDomain,
} from 'viaduct/verbs';

/** Compiles if the value is of that type and of no wider one. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <A, B>(same: Same<A, B>): boolean => same;

export async function devices(): Promise<void> {
  const descriptions = listDevices('softhca');
  is<typeof descriptions, DeviceDescription[]>(true);
  // @ts-expect-error providers have names
  listDevices(1);
  const device = openDevice(undefined, { debug: true });
  is<typeof device, Device>(true);
  // @ts-expect-error debug is a boolean
  openDevice('softhca0', { debug: 'yes' });
  // @ts-expect-error attributes are read only
  device.query().maxQp = 1;
  is<ReturnType<typeof device.query>['maxMrSize'], bigint>(true);
  is<ReturnType<typeof device.query>['maxQp'], number>(true);
  const event = await device.nextEvent({ timeoutMs: 1, signal: AbortSignal.timeout(1) });
  is<typeof event, AsyncEvent>(true);
  is<typeof event.queuePair, QueuePair | undefined>(true);
  if (event.type === 'QP_FATAL') device.close();
  // @ts-expect-error there is no such event
  if (event.type === 'QP_DEAD') device.close();
  for await (const each of device.events()) is<typeof each, AsyncEvent>(true);
  // @ts-expect-error objects are made by their parents
  new QueuePair();
}

export function memory(pd: ProtectionDomain): void {
  const access: readonly Access[] = ['local-write', 'remote-atomic', 'mw-bind', 'on-demand'];
  pd.registerMemory(new ArrayBuffer(8), access);
  pd.registerMemory(new SharedArrayBuffer(8));
  pd.registerMemory(Buffer.alloc(8));
  pd.registerMemory(new DataView(new ArrayBuffer(8)), access, { iova: 4096n });
  // @ts-expect-error addresses are bigint
  pd.registerMemory(new Uint8Array(8), access, { iova: 4096 });
  // @ts-expect-error an array is no memory
  pd.registerMemory([1, 2]);
  // @ts-expect-error neither is a string
  pd.registerMemory('text');
  const region = pd.allocateMemory(4096);
  is<typeof region, MemoryRegion>(true);
  is<typeof region.view, Uint8Array | undefined>(true);
  is<ReturnType<typeof region.remote>, RemoteMemory>(true);
  region.reregister({ access, memory: new Uint8Array(8), pd });
  const window = pd.allocMw(1);
  is<typeof window, MemoryWindow>(true);
  is<typeof window.type, 1 | 2>(true);
  // @ts-expect-error there are two types
  pd.allocMw(3);
}

export function cachedMemory(pd: ProtectionDomain, qp: QueuePair, ring: SendRing): void {
  const cache = pd.createRegistrationCache({ maxEntries: 8, maxBytes: 4096, trustPeers: true });
  is<typeof cache, RegistrationCache>(true);
  // @ts-expect-error limits are numbers
  pd.createRegistrationCache({ maxBytes: 4096n });
  const registration = cache.get(new Float64Array(8), ['local-write', 'remote-read']);
  is<typeof registration, Registration>(true);
  is<ReturnType<typeof registration.remote>, RemoteMemory>(true);
  qp.postSend({ opcode: 'send', sge: registration.slice(0, 8) });
  // @ts-expect-error there is no such access
  cache.get(new ArrayBuffer(8), ['write']);
  const region = cache.acquire(new SharedArrayBuffer(8), accessNumber(['local-write']));
  is<typeof region, CachedRegion>(true);
  ring.send(0, 1, region, region.offsetOf(new Uint8Array(8)), 8, SIGNALED);
  const named: RegisteredMemory = region;
  ring.addEntry(0, named, 0, 8);
  // @ts-expect-error acquire takes flags
  cache.acquire(new ArrayBuffer(8), ['local-write']);
  // @ts-expect-error no window is bound to a region that the cache may let go
  ring.bindWindow(0, 1, pd.allocMw(), region, 0, 8, 0, 1, 0);
  is<ReturnType<typeof cache.stats>, RegistrationCacheStats>(true);
}

export function queues(device: Device, pd: ProtectionDomain): void {
  const channel = device.createChannel();
  is<typeof channel, CompletionChannel>(true);
  const cq = device.createCq(16, { channel, extended: ['timestamp', 'wallclock'] });
  is<typeof cq, CompletionQueue>(true);
  device.createCq(16, { channel: 'none' });
  // @ts-expect-error there is no such field
  device.createCq(16, { extended: ['temperature'] });
  const domain = device.openXrcd();
  is<typeof domain, XrcDomain>(true);
  const srq = pd.createSrq({ maxWr: 8, xrcDomain: domain, cq });
  is<typeof srq, SharedReceiveQueue>(true);
  is<typeof srq.srqNum, number>(true);
  domain.createQp();
  // @ts-expect-error what an XRC target has no use for
  domain.createQp({ sendCq: cq });
  const types: QueuePairType[] = ['RC', 'UC', 'UD', 'XRC_SEND', 'RAW_PACKET'];
  for (const type of types) pd.createQp({ type, sendCq: cq, srq, sendOps: ['send', 'fetch-add'] });
  // @ts-expect-error there is no such opcode
  pd.createQp({ type: 'RC', sendCq: cq, sendOps: ['write'] });
  // @ts-expect-error sizes are numbers
  pd.createQp({ type: 'RC', sendCq: cq, maxSendWr: '64' });
}

export function connecting(qp: QueuePair, theirs: Endpoint): void {
  const mine = qp.endpoint({ port: 1, gidIndex: 1, psn: 5 });
  is<typeof mine, Endpoint>(true);
  is<typeof mine.gid, string | null>(true);
  qp.connect(theirs, { mtu: 1024, rnrRetry: 7, access: ['remote-read'] });
  // @ts-expect-error MTUs are powers of two
  qp.connect(theirs, { mtu: 1000 });
  // @ts-expect-error an endpoint is no number
  qp.connect(5);
  qp.modify({ qpState: 'RTR', ahAttr: { dgid: mine.gid ?? '', sgidIndex: 1 } });
  // @ts-expect-error there is no such state
  qp.modify({ qpState: 'READY' });
  const query = qp.query();
  is<typeof query, QueuePairQuery>(true);
  is<typeof query.qpState, QueuePairState>(true);
  const explained = qp.explain();
  is<typeof explained, PathExplanation>(true);
  is<typeof explained.path, 'none' | 'loopback' | 'direct' | 'copy' | 'mixed' | 'packets'>(true);
}

export function posting(
  qp: QueuePair,
  region: MemoryRegion,
  window: MemoryWindow,
  address: AddressHandle,
): void {
  qp.postRecv([{ id: 1, sge: [region.slice(), region.slice(0, 8)] }, {}]);
  qp.postRecv({ sge: { address: region.address, length: 8, lkey: region.lkey } });
  // @ts-expect-error a region is no piece of memory
  qp.postRecv({ sge: region });
  qp.postSend([
    { opcode: 'send', inline: Buffer.from('text'), solicited: true },
    { opcode: 'send-with-imm', immediate: 5, sge: region.slice() },
    { opcode: 'rdma-read', remote: region.remote(8), fence: true },
    { opcode: 'compare-swap', remote: region.remote(), compare: 1n, swap: 2n },
    { opcode: 'send-with-invalidate', invalidateRkey: window.rkey },
    { opcode: 'bind-mw', window, bind: { region, access: ['remote-read'] } },
    { opcode: 'send', address, remoteQpn: 1, remoteQkey: 2 },
  ]);
  // @ts-expect-error operands of atomics are bigint
  qp.postSend({ opcode: 'fetch-add', remote: region.remote(), add: 1 });
  // @ts-expect-error inline data are bytes
  qp.postSend({ opcode: 'send', inline: 'text' });
  const rkey = qp.bindWindow(window, { region, access: ['remote-write'] }, { signaled: true });
  is<typeof rkey, number>(true);
  const opcodes: readonly SendOpcode[] = ['rdma-write-with-imm', 'local-invalidate'];
  is<(typeof opcodes)[number], SendOpcode>(true);
}

export function rings(qp: QueuePair, cq: CompletionQueue, region: MemoryRegion): void {
  const sends = qp.sendRing(8);
  is<typeof sends, SendRing>(true);
  sends.send(0, 1, region, 0, 8, SIGNALED | SOLICITED);
  // @ts-expect-error ids are numbers here
  sends.send(0, 1n, region, 0, 8, SIGNALED);
  qp.post(sends, 0, 1);
  const receives = qp.receiveRing(8);
  is<typeof receives, ReceiveRing>(true);
  receives.receive(0, 1, region, 0, 8);
  qp.postReceives(receives, 0, 1);
  // @ts-expect-error a ring of sends is none of receives
  qp.postReceives(sends, 0, 1);
  const completions = cq.ring(8);
  is<typeof completions, CompletionRing>(true);
  is<ReturnType<typeof cq.pollInto>, number>(true);
  // @ts-expect-error completions go into rings of their own
  cq.pollInto(receives);
}

export async function completions(cq: CompletionQueue): Promise<void> {
  const completion = await cq.next({ timeoutMs: 5, pollMs: 0, solicitedOnly: true });
  is<typeof completion, WorkCompletion>(true);
  is<typeof completion.status, CompletionStatus>(true);
  is<typeof completion.opcode, CompletionOpcode>(true);
  is<typeof completion.timestamp, bigint>(true);
  // @ts-expect-error completions are read only
  completion.status = 'SUCCESS';
  // @ts-expect-error blocking calls take no signal
  cq.nextSync({ signal: AbortSignal.abort() });
  const { error } = completion;
  if (error !== undefined) {
    const general: VerbsError = error;
    is<typeof error.id, number>(true);
    is<typeof general.errno, number | undefined>(true);
  }
  is<typeof PITFALL.smallCq, 'VIADUCT_VERBS_SMALL_CQ'>(true);
  is<CompletionError['status'], CompletionStatus>(true);
}
