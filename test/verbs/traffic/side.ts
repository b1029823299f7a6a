/**
 * One end of the traffic: a queue pair with all that it needs, under commands whose operands and results are plain
 * data. So the same test drives it here or in another process (peer.ts).
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

import {
  type Access,
  type AddressHandle,
  type AsyncEventType,
  type CompletionChannel,
  type CompletionQueue,
  type ConnectOptions,
  type Device,
  type Endpoint,
  type MemoryRegion,
  type MemoryWindow,
  openDevice,
  type PathExplanation,
  type ProtectionDomain,
  type QueuePair,
  type QueuePairAttributes,
  type QueuePairState,
  type RawMemory,
  type ReceiveWorkRequest,
  type ScatterGatherEntry,
  type SendOpcode,
  type SendWorkRequest,
  type SharedReceiveQueue,
  type WorkCompletion,
} from 'viaduct/verbs';

import { deviceName } from '../pair.js';
import { type Family, gidIndexOf } from './facts.js';
import { pattern } from './pattern.js';

/** How long anything may take before the test fails. */
export const WAIT_MS = 20_000;

export const GRH_BYTES = 40;

/** `XRC` is both of its halves: a sender, and a target with its shared receive queue. */
export type Service = 'RC' | 'UC' | 'UD' | 'XRC';

export interface SideOptions {
  /** Default RC. */
  readonly type?: Service;
  /** Receives come from a shared queue. XRC always has one. */
  readonly srq?: boolean;
  /** Of the region that `memory()` describes. Default 8192. */
  readonly sizeBytes?: number;
  /** What peers can map, or memory like any. */
  readonly shareable?: boolean;
  readonly access?: readonly Access[];
  readonly sendOps?: readonly SendOpcode[];
  readonly maxInlineBytes?: number;
  readonly maxSendWr?: number;
  readonly maxRecvWr?: number;
  readonly signalAll?: boolean;
  /** Completions with times, from an extended queue. */
  readonly extended?: boolean;
  readonly completions?: number;
  /** The address that it sends from, on Ethernet; by default the one that the library prefers. */
  readonly from?: Family;
}

/** A region, as work requests of either side name it. */
export interface Memory {
  /** By which the side's own commands name it. */
  readonly region: number;
  readonly address: bigint;
  readonly lkey: number;
  readonly rkey: number;
  readonly byteLength: number;
}

/** Bytes of one of the side's regions (default: the first), or of memory that only the device knows. */
export type Piece =
  { readonly offset: number; readonly length: number; readonly region?: number } | RawMemory;

type Pieces = Piece | readonly Piece[];

export interface Receive {
  readonly id?: number;
  readonly sge?: Pieces;
}

export interface Binding {
  readonly window: number;
  readonly region?: number;
  readonly offset: number;
  readonly length: number;
  readonly access: readonly Access[];
}

export interface Send extends Omit<
  SendWorkRequest,
  'sge' | 'address' | 'remoteQpn' | 'window' | 'bind'
> {
  readonly sge?: Pieces;
  /** Where a datagram goes; `sender`: back to the one whose datagram came last, to the first byte of the region. */
  readonly to?: Endpoint | 'sender';
  readonly bind?: Binding;
}

/** What a peer connects to: two queue pairs for XRC, one for the others. */
export interface Ends {
  readonly sending: Endpoint;
  readonly receiving: Endpoint;
  readonly srqNum: number;
}

export type Completion = Pick<
  WorkCompletion,
  | 'id'
  | 'status'
  | 'opcode'
  | 'byteLen'
  | 'qpNum'
  | 'srcQp'
  | 'immediate'
  | 'invalidatedRkey'
  | 'hasGrh'
  | 'timestamp'
> & {
  /** What the library says of a failure. */
  readonly problem: string | undefined;
};

/** The commands of a side, wherever it is. */
export type Side = { readonly [Command in keyof LocalSide]: LocalSide[Command] };

const ACCESS: readonly Access[] = ['local-write', 'remote-write', 'remote-read'];

function plain(completion: WorkCompletion): Completion {
  const { id, status, opcode, byteLen, qpNum, srcQp } = completion;
  const { immediate, invalidatedRkey, hasGrh, timestamp } = completion;
  const problem = completion.error?.message;
  return {
    ...{ id, status, opcode, byteLen, qpNum, srcQp },
    ...{ immediate, invalidatedRkey, hasGrh, timestamp, problem },
  };
}

const listOf = <T>(one: T | readonly T[]): readonly T[] =>
  Array.isArray(one) ? (one as readonly T[]) : [one as T];

export class LocalSide {
  readonly #device: Device;
  readonly #shareable: boolean;
  readonly #pd: ProtectionDomain;
  readonly #channel: CompletionChannel;
  readonly #cq: CompletionQueue;
  readonly #srq: SharedReceiveQueue | undefined;
  readonly #qp: QueuePair;
  /** Where messages arrive: another queue pair with XRC. */
  readonly #receiver: QueuePair;
  readonly #access: readonly Access[];
  readonly #regions: MemoryRegion[] = [];
  readonly #windows: MemoryWindow[] = [];
  readonly #addresses = new Map<string, AddressHandle>();
  readonly #gidIndex: number;
  #received: WorkCompletion | undefined;

  constructor(options: SideOptions) {
    const { type = 'RC', maxSendWr = 64, maxRecvWr = 64, completions = 256 } = options;
    this.#device = openDevice(deviceName);
    this.#gidIndex = gidIndexOf(this.#device, options.from);
    this.#shareable = options.shareable === true;
    this.#pd = this.#device.allocPd();
    this.#channel = this.#device.createChannel();
    this.#cq = this.#device.createCq(completions, {
      channel: this.#channel,
      ...(options.extended === true ? { extended: ['timestamp'] } : {}),
    });
    const { capabilities, atomicCap } = this.#device.query();
    this.#access =
      options.access ??
      ACCESS.concat(
        atomicCap === 'none' ? [] : 'remote-atomic',
        capabilities.includes('mem-window') ? 'mw-bind' : [],
      );
    const common = {
      sendCq: this.#cq,
      maxSendWr,
      maxSendSge: 4,
      ...(options.signalAll === true ? { signalAll: true } : {}),
      ...(options.maxInlineBytes === undefined ? {} : { maxInlineBytes: options.maxInlineBytes }),
      ...(options.sendOps === undefined ? {} : { sendOps: options.sendOps }),
    };
    if (type === 'XRC') {
      const xrcDomain = this.#device.openXrcd();
      this.#srq = this.#pd.createSrq({ maxWr: maxRecvWr, maxSge: 4, xrcDomain, cq: this.#cq });
      this.#qp = this.#pd.createQp({ ...common, type: 'XRC_SEND' });
      this.#receiver = xrcDomain.createQp();
    } else {
      if (options.srq === true) this.#srq = this.#pd.createSrq({ maxWr: maxRecvWr, maxSge: 4 });
      this.#qp = this.#pd.createQp({
        ...common,
        type,
        ...(this.#srq === undefined ? { maxRecvWr, maxRecvSge: 4 } : { srq: this.#srq }),
      });
      this.#receiver = this.#qp;
    }
    this.#register(this.#pd, options.sizeBytes ?? 8192, this.#access);
  }

  #register(pd: ProtectionDomain, sizeBytes: number, access: readonly Access[]): Memory {
    const region = this.#shareable
      ? pd.allocateMemory(sizeBytes, access)
      : pd.registerMemory(new Uint8Array(sizeBytes), access);
    this.#regions.push(region);
    return this.#describe(this.#regions.length - 1);
  }

  #describe(index: number): Memory {
    const { address, lkey, rkey, byteLength } = this.#region(index);
    return { region: index, address, lkey, rkey, byteLength };
  }

  #region(index = 0): MemoryRegion {
    const region = this.#regions[index];
    if (region === undefined) throw new Error(`there is no region ${index}`);
    return region;
  }

  #window(index: number): MemoryWindow {
    const window = this.#windows[index];
    if (window === undefined) throw new Error(`there is no window ${index}`);
    return window;
  }

  #bytes(index = 0): Uint8Array {
    const { view } = this.#region(index);
    if (view === undefined) throw new Error(`region ${index} has no view`);
    return view;
  }

  /** The first region. */
  async memory(): Promise<Memory> {
    return this.#describe(0);
  }

  /** One more region; in a protection domain of its own, if asked for. */
  async addRegion(options: {
    readonly sizeBytes: number;
    readonly access?: readonly Access[];
    readonly ownPd?: boolean;
  }): Promise<Memory> {
    const pd = options.ownPd === true ? this.#device.allocPd() : this.#pd;
    return this.#register(pd, options.sizeBytes, options.access ?? this.#access);
  }

  async closeRegion(index: number): Promise<void> {
    this.#region(index).close();
  }

  async fill(offset: number, bytes: Uint8Array, region = 0): Promise<void> {
    this.#bytes(region).set(bytes, offset);
  }

  async read(offset = 0, length?: number, region = 0): Promise<Uint8Array> {
    const bytes = this.#bytes(region);
    return bytes.slice(offset, offset + (length ?? bytes.length - offset));
  }

  /** Fills bytes of the first region from a seed, for data that would take long to come from elsewhere. */
  async fillFrom(seed: number, offset: number, length: number): Promise<void> {
    this.#bytes().set(pattern(length, seed), offset);
  }

  /** The first place where the bytes of the first region are not those of the seed, as an offset from the first; -1 if none. */
  async differsFrom(seed: number, offset: number, length: number): Promise<number> {
    const bytes = this.#bytes().subarray(offset, offset + length);
    const wanted = pattern(length, seed);
    return Buffer.from(wanted).equals(bytes)
      ? -1
      : wanted.findIndex((byte, at) => byte !== bytes[at]);
  }

  async ends(): Promise<Ends> {
    const gidIndex = this.#gidIndex;
    return {
      sending: this.#qp.endpoint({ gidIndex }),
      receiving: this.#receiver.endpoint({ gidIndex }),
      srqNum: this.#srq?.srqNum ?? 0,
    };
  }

  /** Ready to receive and to send; datagrams need no peer. */
  async connect(theirs: Ends, options: ConnectOptions = {}): Promise<void> {
    if (this.#qp.type === 'UD') {
      this.#qp.connect();
      return;
    }
    this.#qp.connect(theirs.receiving, options);
    if (this.#receiver !== this.#qp) this.#receiver.connect(theirs.sending, options);
  }

  async modify(attributes: QueuePairAttributes): Promise<void> {
    this.#qp.modify(attributes);
  }

  /** Back to RESET, from where it can be connected anew. */
  async reset(): Promise<void> {
    this.#qp.modify({ qpState: 'RESET' });
    if (this.#receiver !== this.#qp) this.#receiver.modify({ qpState: 'RESET' });
  }

  async state(): Promise<QueuePairState> {
    return this.#qp.query().qpState;
  }

  /** Of the half that receives. */
  async receiverState(): Promise<QueuePairState> {
    return this.#receiver.query().qpState;
  }

  #entries(pieces: Pieces): ScatterGatherEntry[] {
    return listOf(pieces).map((piece) =>
      'lkey' in piece ? piece : this.#region(piece.region).slice(piece.offset, piece.length),
    );
  }

  #address({ gid, lid }: Endpoint): AddressHandle {
    const key = `${gid} ${lid}`;
    const known = this.#addresses.get(key);
    if (known !== undefined) return known;
    const made = this.#pd.createAh({
      dlid: lid,
      ...(gid === null ? {} : { dgid: gid, sgidIndex: this.#gidIndex }),
    });
    this.#addresses.set(key, made);
    return made;
  }

  #request(send: Send): SendWorkRequest {
    const { sge, to, bind, ...rest } = send;
    const request: SendWorkRequest = {
      ...rest,
      ...(sge === undefined ? {} : { sge: this.#entries(sge) }),
    };
    if (bind !== undefined) {
      const { window, region, ...range } = bind;
      const binding = { ...range, region: this.#region(region) };
      return { ...request, window: this.#window(window), bind: binding };
    }
    if (to === undefined) return request;
    if (to !== 'sender') {
      const address = this.#address(to);
      return { ...request, address, remoteQpn: to.qpn, remoteQkey: to.qkey };
    }
    if (this.#received === undefined) throw new Error('no datagram came yet');
    const header = this.#bytes().slice(0, GRH_BYTES);
    const address = this.#pd.createAhFromCompletion(this.#received, header);
    const { remoteQkey = 0 } = send;
    return { ...request, address, remoteQpn: this.#received.srcQp, remoteQkey };
  }

  async send(requests: Send | readonly Send[]): Promise<void> {
    this.#qp.postSend(listOf(requests).map((each) => this.#request(each)));
  }

  async receive(requests: Receive | readonly Receive[]): Promise<void> {
    const list = listOf(requests).map(({ sge, ...rest }): ReceiveWorkRequest => ({
      ...rest,
      ...(sge === undefined ? {} : { sge: this.#entries(sge) }),
    }));
    if (this.#srq === undefined) this.#qp.postRecv(list);
    else this.#srq.postRecv(list);
  }

  /** The next completion, whatever its status. */
  async next(): Promise<Completion> {
    const completion = await this.#cq.next({ timeoutMs: WAIT_MS });
    if (completion.opcode === 'recv') this.#received = completion;
    return plain(completion);
  }

  /** What has completed by now. */
  async poll(): Promise<Completion[]> {
    return this.#cq.poll(1000).map(plain);
  }

  /** The next asynchronous event of this kind; others before it are dropped. */
  async event(type: AsyncEventType): Promise<'queue pair' | 'queue' | 'completions' | 'port'> {
    for (;;) {
      const event = await this.#device.nextEvent({ timeoutMs: WAIT_MS });
      if (event.type !== type) continue;
      if (event.queuePair !== undefined) return 'queue pair';
      if (event.sharedReceiveQueue !== undefined) return 'queue';
      return event.completionQueue === undefined ? 'port' : 'completions';
    }
  }

  async armLimit(limit: number): Promise<void> {
    this.#srq?.armLimit(limit);
  }

  /** Asks for an event of the completion channel. */
  async arm(solicitedOnly: boolean): Promise<void> {
    this.#cq.requestNotification({ solicitedOnly });
  }

  /** Whether the channel had an event within this time. */
  async channelEvent(timeoutMs: number): Promise<boolean> {
    return this.#channel.waitSync(timeoutMs);
  }

  /** A window; its index, for commands, and its key. */
  async addWindow(type: 1 | 2): Promise<{ window: number; rkey: number }> {
    const window = this.#pd.allocMw(type);
    this.#windows.push(window);
    return { window: this.#windows.length - 1, rkey: window.rkey };
  }

  async windowKey(index: number): Promise<number> {
    return this.#window(index).rkey;
  }

  /** Binds a window of type 1, signaled. Returns its new key. */
  async bindWindow(binding: Binding): Promise<number> {
    const { window, region, ...range } = binding;
    return this.#qp.bindWindow(
      this.#window(window),
      { ...range, region: this.#region(region) },
      { signaled: true },
    );
  }

  async join(gid: string, lid: number): Promise<void> {
    this.#qp.attachMcast(gid, lid);
  }

  async leave(gid: string, lid: number): Promise<void> {
    this.#qp.detachMcast(gid, lid);
  }

  async explain(): Promise<PathExplanation | undefined> {
    return this.#device.provider === 'softhca' && !this.#qp.closed ? this.#qp.explain() : undefined;
  }

  /** What became of the packets of its process. */
  async packetCounters(): Promise<Readonly<Record<string, bigint>>> {
    const mine = this.#device.packetCounters().find(({ pid }) => pid === process.pid);
    return mine?.counters ?? {};
  }

  /**
   * Posts the requests, of which the last is signaled, again and again, and each receive that completed, until
   * something fails. Returns the first failure, and how many rounds went well.
   */
  async stream(requests: readonly Send[], receives: readonly Receive[]): Promise<Streamed> {
    const list = requests.map((each) => this.#request(each));
    await this.receive(receives);
    this.#qp.postSend(list);
    for (let rounds = 0; ;) {
      const completion = await this.#cq.next({ timeoutMs: WAIT_MS });
      if (!completion.ok) return { rounds, failure: plain(completion) };
      if (completion.opcode.startsWith('recv')) {
        await this.receive(receives.filter(({ id }) => id === completion.id));
      } else {
        rounds += 1;
        this.#qp.postSend(list);
        // What has completed already is awaited without a turn of the event loop.
        await nextTurn();
      }
    }
  }

  async closeQueuePair(): Promise<void> {
    this.#qp.close();
    this.#receiver.close();
  }

  async close(): Promise<void> {
    this.#device.close();
  }
}

export interface Streamed {
  readonly rounds: number;
  readonly failure: Completion;
}
