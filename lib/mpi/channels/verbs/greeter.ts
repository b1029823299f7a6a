/**
 * How two ranks connect when the first message is to go: by datagrams, in which each says which queue pair it has for the other,
 * and how far it is.
 *
 * Each end makes one queue pair for the other when it wants to send or is greeted, and connects it when it knows the other's; so
 * it does not matter who began, or whether both did at once. A greeting that says less than that the sender knows this end to be
 * connected is answered. A datagram that is lost is sent again by whoever waits.
 */
import {
  type AddressHandle,
  type CompletionQueue,
  type Device,
  type Endpoint,
  type MemoryRegion,
  type ProtectionDomain,
  type QueuePair,
  type SendRing,
  SIGNALED,
} from '../../../verbs/index.js';
import type { Card } from './card.js';
import { receiveId, sendId } from './numbers.js';

/** What a datagram says, as JSON. */
export interface Greeting {
  readonly from: number;
  /** How far the sender is, as `Connection.state`. */
  readonly state: number;
  /** Of its queue pair for the receiver. */
  readonly endpoint: Endpoint;
}

const OWNER = 0;
/** The routing header before each datagram (ibv_create_ah(3)). */
const HEADER_BYTES = 40;
/** Half a MTU of the smallest. */
const TEXT_BYTES = 512;
const SLOT_BYTES = HEADER_BYTES + TEXT_BYTES;
const RECEIVES = 64;
const SENDS = 16;
const OPCODE_SEND = 2;
/** 127.0.0.0/8 and ::1, as GIDs. */
const LOOPBACK = /^(0000:){5}ffff:7f|^(0000:){7}0001$/;

export class Greeter {
  readonly card: Card;
  readonly #pd: ProtectionDomain;
  readonly #qp: QueuePair;
  readonly #memory: MemoryRegion;
  readonly #bytes: Buffer;
  readonly #sends: SendRing;
  readonly #addresses = new Map<number, AddressHandle>();
  readonly #gidIndex: number;
  #sent = 0;
  #underWay = 0;

  constructor(device: Device, pd: ProtectionDomain, cq: CompletionQueue) {
    this.#pd = pd;
    this.#gidIndex = device.preferredGid(1);
    this.#memory = pd.allocateMemory((RECEIVES + SENDS) * SLOT_BYTES);
    const view = this.#memory.view as Uint8Array<ArrayBuffer>;
    this.#bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    this.#qp = pd.createQp({ type: 'UD', sendCq: cq, maxSendWr: SENDS, maxRecvWr: RECEIVES });
    this.#sends = this.#qp.sendRing(SENDS);
    this.card = {
      device: device.name,
      provider: device.provider,
      linkLayer: device.queryPort(1).linkLayer,
      isRoutable: isRoutable(device, this.#gidIndex),
      endpoint: this.#qp.endpoint(),
    };
    this.#qp.connect();
    for (let slot = 0; slot < RECEIVES; slot++) this.#postReceive(slot);
  }

  /** Completions that its queue pair may have. */
  static readonly completions = RECEIVES + SENDS;

  /** Sends a greeting, which may be lost. */
  greet(rank: number, card: Card, greeting: Greeting): void {
    if (this.#underWay === SENDS) return;
    let address = this.#addresses.get(rank);
    if (address === undefined) {
      const { lid, gid } = card.endpoint;
      const isGlobal = gid !== null && (card.linkLayer === 'Ethernet' || lid === 0);
      address = this.#pd.createAh({
        dlid: lid,
        ...(isGlobal ? { dgid: gid, sgidIndex: this.#gidIndex } : {}),
      });
      this.#addresses.set(rank, address);
    }
    const slot = this.#sent++ % SENDS;
    const place = (RECEIVES + slot) * SLOT_BYTES;
    const length = this.#bytes.write(JSON.stringify(greeting), place, TEXT_BYTES, 'latin1');
    const { qpn, qkey } = card.endpoint;
    this.#sends.start(slot, sendId(OWNER, slot), OPCODE_SEND, SIGNALED);
    this.#sends.setDatagram(slot, address, qpn, qkey);
    this.#sends.addEntry(slot, this.#memory, place, length);
    this.#qp.post(this.#sends, slot, 1);
    this.#underWay++;
  }

  /** A greeting is gone. */
  sent(): void {
    this.#underWay--;
  }

  /** Takes a datagram of so many bytes, header included; undefined when it is no greeting. */
  received(slot: number, byteLength: number): Greeting | undefined {
    const place = slot * SLOT_BYTES;
    const text = this.#bytes.toString('latin1', place + HEADER_BYTES, place + byteLength);
    this.#postReceive(slot);
    try {
      return JSON.parse(text) as Greeting;
    } catch {
      // Whoever has the key is of this job; but no more than a line of text is trusted.
      return undefined;
    }
  }

  #postReceive(slot: number): void {
    const sge = { region: this.#memory, offset: slot * SLOT_BYTES, length: SLOT_BYTES };
    this.#qp.postRecv({ id: receiveId(OWNER, slot), sge });
  }
}

/** False for addresses of RoCE that belong to no interface, or to the loopback. */
function isRoutable(device: Device, gidIndex: number): boolean {
  if (device.queryPort(1).linkLayer !== 'Ethernet') return true;
  const entry = device.gidTable().find((each) => each.portNum === 1 && each.gidIndex === gidIndex);
  return entry !== undefined && entry.ndevIfindex !== 0 && !LOOPBACK.test(entry.gid);
}
