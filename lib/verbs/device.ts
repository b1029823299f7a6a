/** Devices: what can be asked of them, and what is made from them. */
import { CompletionChannel } from './completion-channel.js';
import { CompletionQueue, type CompletionQueueOptions } from './completion-queue.js';
import type { DeviceAttributes, PortAttributes } from './device-attributes.js';
import type { GidEntry } from './endpoint.js';
import {
  ATOMIC_CAP,
  type AsyncEventType,
  DEVICE_CAPABILITY,
  EVENT_TYPE,
  GID_TYPE,
  LINK_LAYER,
  mtuBytes,
  NODE_TYPE,
  PORT_STATE,
  TRANSPORT_TYPE,
} from './enumerations.js';
import { ClosedError } from '../errors.js';
import { attempt, UnsupportedError, VerbsError } from './errors.js';
import { gidBytes, gidText, isIpv4Gid, isZeroGid } from './gid.js';
import { type DescriptorWatch, native } from './native.js';
import { PitfallWatch } from './pitfalls.js';
import type { ProcessCounters } from './process-counters.js';
import { ProtectionDomain } from './protection-domain.js';
import { loadProvider, type ProviderName, PROVIDERS } from './provider.js';
import { QueuePair } from './queue-pair.js';
import { Resource, resourceAt } from './resource.js';
import { SharedReceiveQueue } from './shared-receive-queue.js';
import { deadlineOf, type WaitOptions, WaitList } from './waiting.js';
import { XrcDomain, type XrcDomainOptions } from './xrc-domain.js';

/** Of the GIDs that processes have in an aperture's rings of packets (`make_address` of native/softhca/links). */
const RINGS_PREFIX = 'fd56:6961:';

/** A device that can be opened. */
export interface DeviceDescription {
  /** Its name, such as `mlx5_0`, `rxe0` or `softhca0`: what `openDevice` takes. */
  readonly name: string;
  /** Who drives it. */
  readonly provider: ProviderName;
  /** 16 hexadecimal digits in four groups. */
  readonly guid: string;
  /** What it is: `CA` for a channel adapter, `RNIC` for iWARP, or another name of ibv_node_type. */
  readonly nodeType: string;
  /** `InfiniBand`, which RoCE devices say too, `iWARP`, or another name of ibv_transport_type. */
  readonly transportType: string;
}

/** Something that happened to a device, a port or an object (ibv_get_async_event(3)). */
export interface AsyncEvent {
  /** What happened. */
  readonly type: AsyncEventType;
  /** The port that it happened to, where it is about one. */
  readonly port?: number;
  /** The queue pair that it happened to, unless it was closed since. */
  readonly queuePair?: QueuePair;
  /** The completion queue that it happened to, unless it was closed since. */
  readonly completionQueue?: CompletionQueue;
  /** The shared receive queue that it happened to, unless it was closed since. */
  readonly sharedReceiveQueue?: SharedReceiveQueue;
}

/** How `openDevice` is to open it. */
export interface OpenDeviceOptions {
  /** Default: the first provider that has the device. */
  readonly provider?: ProviderName;
  /** Warns of pitfalls, at some cost in speed. Default: whether $VIADUCT_VERBS_DEBUG is 1. */
  readonly debug?: boolean;
}

export function guidText(guid: bigint): string {
  const digits = guid.toString(16).padStart(16, '0');
  return [0, 4, 8, 12].map((at) => digits.slice(at, at + 4)).join(':');
}

function devicesOf(provider: ProviderName): DeviceDescription[] {
  const number = loadProvider(provider);
  return attempt('listDevices', { provider }, () => native.listDevices(number)).map((each) => ({
    name: each.name,
    provider,
    guid: guidText(each.guid),
    nodeType: NODE_TYPE[each.nodeType] ?? `unknown (${each.nodeType})`,
    transportType: TRANSPORT_TYPE[each.transportType] ?? `unknown (${each.transportType})`,
  }));
}

/**
 * The devices of all providers: hardware first, the software HCA last. A provider that is not installed has none;
 * ask for it by name to learn why.
 */
export function listDevices(provider?: ProviderName): DeviceDescription[] {
  if (provider !== undefined) return devicesOf(provider);
  return PROVIDERS.flatMap((each) => {
    try {
      return devicesOf(each);
    } catch (error) {
      // Most machines have no libibverbs of the system; the software HCA is what they have.
      if (each === 'system' && error instanceof VerbsError && error.code === 'ERR_VERBS_PROVIDER') {
        return [];
      }
      throw error;
    }
  });
}

/**
 * Opens a device by name; without one, the first that `listDevices` lists.
 *
 * @throws VerbsError `ERR_VERBS_DEVICE` naming those that there are, `ERR_VERBS_PROVIDER`.
 */
export function openDevice(name?: string, options: OpenDeviceOptions = {}): Device {
  const devices = listDevices(options.provider);
  const found = name === undefined ? devices[0] : devices.find((each) => each.name === name);
  if (found === undefined) {
    const known = devices.map((each) => each.name).join(', ');
    throw new VerbsError(
      'ERR_VERBS_DEVICE',
      name === undefined
        ? 'openDevice: there is no device; see `viaduct devices`'
        : `openDevice: there is no device '${name}'; there ${known === '' ? 'is none' : `are: ${known}`}`,
      { call: 'openDevice', operands: { name, provider: options.provider } },
    );
  }
  const provider = loadProvider(found.provider);
  const made = attempt('openDevice', { name: found.name, provider: found.provider }, () =>
    native.openDevice(provider, found.name),
  );
  return new Device(found, made, options.debug ?? process.env['VIADUCT_VERBS_DEBUG'] === '1');
}

/**
 * An opened device (ibv_open_device(3)). All else is made from it, and closed with it.
 *
 * ```ts
 * import { listDevices, openDevice } from 'viaduct/verbs';
 *
 * for (const { name, provider } of listDevices('softhca')) {
 *   console.log(`${name} of ${provider}`); // prints softhca0 of softhca
 * }
 * using device = openDevice('softhca0');
 * console.log(device.queryPort(1).state); // prints ACTIVE
 * ```
 */
export class Device extends Resource {
  /** What it was opened by. */
  readonly name: string;
  /** Who drives it. */
  readonly provider: ProviderName;
  /** 16 hexadecimal digits in four groups. */
  readonly guid: string;
  /** How many completion vectors (interrupts) it has; queues choose one by number, from 0 on. */
  readonly completionVectors: number;
  /** @internal Looks for pitfalls, if that was asked for. */
  readonly pitfalls: PitfallWatch | undefined;
  readonly #watch: DescriptorWatch;
  readonly #waiting: WaitList;
  #channel: CompletionChannel | undefined;
  #attributes: DeviceAttributes | undefined;

  /** @internal */
  constructor(
    description: DeviceDescription,
    made: {
      readonly handle: number;
      readonly asyncDescriptor: number;
      readonly completionVectors: number;
    },
    debug: boolean,
  ) {
    super('device', made.handle, []);
    this.name = description.name;
    this.provider = description.provider;
    this.guid = description.guid;
    this.completionVectors = made.completionVectors;
    this.pitfalls = debug ? new PitfallWatch() : undefined;
    this.#watch = new native.DescriptorWatch(made.asyncDescriptor, () => this.#waiting.wakeAll());
    this.#waiting = new WaitList((count) => {
      if (count > 0) this.#watch.start();
      else this.#watch.stop();
    });
  }

  /** What the device has; asked once. */
  query(): DeviceAttributes {
    const handle = this.openHandle('device.query');
    this.#attributes ??= this.#query(handle);
    return this.#attributes;
  }

  #query(handle: number): DeviceAttributes {
    const raw = attempt('device.query', {}, () => native.queryDevice(handle));
    const { fwVer, nodeGuid, sysImageGuid, deviceCapFlags, atomicCap, ...rest } = raw;
    const flags = Number(deviceCapFlags);
    return {
      ...(rest as unknown as DeviceAttributes),
      fwVer,
      nodeGuid: guidText(BigInt(nodeGuid ?? 0)),
      sysImageGuid: guidText(BigInt(sysImageGuid ?? 0)),
      capabilities: Object.entries(DEVICE_CAPABILITY)
        .filter(([, bit]) => (flags & bit) !== 0)
        .map(([name]) => name),
      atomicCap: ATOMIC_CAP[Number(atomicCap)] ?? 'none',
    };
  }

  /**
   * A port by its number, from 1 to `query().physPortCnt` (ibv_query_port(3)).
   *
   * @throws VerbsError `ERR_VERBS_ARGUMENT` when it has no such port.
   */
  queryPort(port = 1): PortAttributes {
    const handle = this.openHandle('device.queryPort');
    const raw = attempt('device.queryPort', { port }, () => native.queryPort(handle, port));
    const { state = 0, maxMtu = 0, activeMtu = 0, linkLayer = 0, ...rest } = raw;
    return {
      ...(rest as unknown as PortAttributes),
      port,
      state: PORT_STATE[state] ?? 'NOP',
      maxMtu: mtuBytes(maxMtu),
      activeMtu: mtuBytes(activeMtu),
      linkLayer: LINK_LAYER[linkLayer] ?? 'unspecified',
    };
  }

  /**
   * One entry of a port's GID table, in eight groups of hexadecimal digits; all zeros where it is empty
   * (ibv_query_gid(3)).
   */
  queryGid(port: number, index: number): string {
    const handle = this.openHandle('device.queryGid');
    return gidText(
      attempt('device.queryGid', { port, index }, () => native.queryGid(handle, port, index)),
    );
  }

  /** The GIDs of all ports that are not empty (ibv_query_gid_table(3)). */
  gidTable(): GidEntry[] {
    const handle = this.openHandle('device.gidTable');
    const ports = this.query().physPortCnt;
    let most = 0;
    for (let port = 1; port <= ports; port++) most += this.queryPort(port).gidTblLen;
    try {
      return attempt('device.gidTable', {}, () => native.queryGidTable(handle, most)).map(
        ({ gid, gidType, gidIndex, portNum, ndevIfindex }) => ({
          gid: gidText(gid),
          gidIndex,
          portNum,
          gidType: GID_TYPE[gidType] ?? 'IB',
          ndevIfindex,
        }),
      );
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      return this.#gidsOneByOne(ports);
    }
  }

  /**
   * What became of the packets of each process that uses the device now: how many came and went, and why some were
   * dropped. Only of this user's processes in this network namespace.
   *
   * @throws UnsupportedError on providers other than the software HCA.
   */
  packetCounters(): ProcessCounters[] {
    const handle = this.openHandle('device.packetCounters');
    return attempt('device.packetCounters', {}, () => native.queryCounters(handle));
  }

  // Before rdma-core 31 there is no table, and no type.
  #gidsOneByOne(ports: number): GidEntry[] {
    const entries: GidEntry[] = [];
    for (let portNum = 1; portNum <= ports; portNum++) {
      const { gidTblLen, linkLayer } = this.queryPort(portNum);
      const gidType = linkLayer === 'Ethernet' ? 'RoCE v2' : 'IB';
      for (let gidIndex = 0; gidIndex < gidTblLen; gidIndex++) {
        const gid = this.queryGid(portNum, gidIndex);
        if (isZeroGid(gidBytes('device.gidTable', gid))) continue;
        entries.push({ gid, gidIndex, portNum, gidType, ndevIfindex: 0 });
      }
    }
    return entries;
  }

  /** One entry of a port's table of partition keys, a 16-bit number (ibv_query_pkey(3)). */
  queryPkey(port: number, index: number): number {
    const handle = this.openHandle('device.queryPkey');
    return attempt('device.queryPkey', { port, index }, () =>
      native.queryPkey(handle, port, index),
    );
  }

  /** The GID index to send from, where the program names none; see `EndpointOptions`. */
  preferredGid(port: number): number {
    if (this.queryPort(port).linkLayer !== 'Ethernet') return 0;
    const entries = this.gidTable().filter((each) => each.portNum === port);
    const routable = entries.filter((each) => each.gidType === 'RoCE v2');
    // Whoever has rings of packets has asked for them.
    const rings = routable.find(({ gid }) => gid.startsWith(RINGS_PREFIX));
    const ipv4 = routable.find((each) => isIpv4Gid(gidBytes('device.preferredGid', each.gid)));
    const address = routable.find((each) => each.ndevIfindex !== 0);
    return (rings ?? ipv4 ?? address ?? routable[0] ?? entries[0])?.gidIndex ?? 0;
  }

  /** Makes a protection domain (ibv_alloc_pd(3)). */
  allocPd(): ProtectionDomain {
    this.openHandle('device.allocPd');
    return ProtectionDomain.create(this);
  }

  /** Makes a completion channel (ibv_create_comp_channel(3)). */
  createChannel(): CompletionChannel {
    this.openHandle('device.createChannel');
    return CompletionChannel.create(this);
  }

  /** The channel of queues that were given no other. */
  defaultChannel(): CompletionChannel {
    this.#channel ??= this.createChannel();
    return this.#channel;
  }

  /**
   * Makes a completion queue (ibv_create_cq(3)).
   *
   * @param entries how many completions it can hold at least
   * @throws VerbsError `ERR_VERBS_ARGUMENT` unless that is a number from 1 to `query().maxCqe`.
   */
  createCq(entries: number, options: CompletionQueueOptions = {}): CompletionQueue {
    this.openHandle('device.createCq');
    return CompletionQueue.create(this, entries, options);
  }

  /**
   * Opens an XRC domain, or makes it (ibv_open_xrcd(3)).
   *
   * @throws UnsupportedError on devices without XRC.
   */
  openXrcd(options: XrcDomainOptions = {}): XrcDomain {
    this.openHandle('device.openXrcd');
    return XrcDomain.open(this, options);
  }

  /**
   * Waits for the next asynchronous event (ibv_get_async_event(3)). It keeps the process alive while it waits.
   *
   * @throws VerbsError `ERR_VERBS_TIMEOUT`, `ERR_VERBS_ABORTED`; ClosedError when the device is closed meanwhile.
   */
  async nextEvent(options: WaitOptions = {}): Promise<AsyncEvent> {
    const deadline = deadlineOf(options);
    for (;;) {
      const handle = this.openHandle('device.nextEvent');
      const event = attempt('device.nextEvent', {}, () => native.takeAsyncEvent(handle));
      if (event !== null) return describeEvent(event);
      await this.#waiting.wait('device.nextEvent', deadline, options.signal);
    }
  }

  /** All asynchronous events to come, until the device is closed. */
  async *events(
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<AsyncEvent, void, void> {
    while (!this.closed) {
      let event: AsyncEvent;
      try {
        event = await this.nextEvent(options);
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield event;
    }
  }

  protected override beforeClose(): void {
    this.#waiting.failAll(new ClosedError('device', 'device.nextEvent'));
    this.#watch.close();
  }
}

function describeEvent(event: { type: number; handle: number; port: number }): AsyncEvent {
  const queuePair = resourceAt(QueuePair, event.handle);
  const completionQueue = resourceAt(CompletionQueue, event.handle);
  const sharedReceiveQueue = resourceAt(SharedReceiveQueue, event.handle);
  return {
    type: EVENT_TYPE[event.type] ?? 'DEVICE_FATAL',
    ...(event.port === 0 ? {} : { port: event.port }),
    ...(queuePair === undefined ? {} : { queuePair }),
    ...(completionQueue === undefined ? {} : { completionQueue }),
    ...(sharedReceiveQueue === undefined ? {} : { sharedReceiveQueue }),
  };
}
