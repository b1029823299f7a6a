/**
 * Messages by a device of verbs: what all ranks of the channel have in common. One completion queue says what has come and gone,
 * for all connections and for the greetings by which they are made.
 */
import { WC_STATUS } from '../../../verbs/enumerations.js';
import {
  type CompletionQueue,
  type CompletionRing,
  type Device,
  type Endpoint,
  type ProtectionDomain,
  VerbsError,
} from '../../../verbs/index.js';
import type { Incoming } from '../../incoming.js';
import type { Channel } from '../channel.js';
import type { Card, CardBoard } from './card.js';
import { CONNECTED, Connection, type ConnectionSizes, GREETED, READY } from './connection.js';
import { Greeter, type Greeting } from './greeter.js';
import { isSend, ownerOf, slotOf } from './numbers.js';
import { VerbsPeer, type VerbsPeerParts } from './peer.js';

/** Completions that are taken at once. */
const RING_SLOTS = 32;
/** After so long a greeting that was not answered is sent again; twice as long each time, up to the second. */
const FIRST_GREETING_MS = 20;
const LAST_GREETING_MS = 1000;
/** How often a rank that sleeps on its event loop looks whether there is somebody to greet, or to ask for a sign of life. */
const LOOK_MS = 50;
/** A connection that was silent for so long, while this rank waits, is asked for a sign of life. */
const SILENCE_MS = 1000;
/** How long those who leave wait for the last word of each other. */
const LEAVE_MS = 3000;
/** The same for its acknowledgement, which does not come from a peer that has left already. */
const ACKNOWLEDGEMENT_MS = 20;

/** What a channel is made of. */
export interface VerbsChannelParts {
  readonly rank: number;
  readonly device: Device;
  readonly board: CardBoard;
  readonly incoming: Incoming;
  readonly sizes: ConnectionSizes;
  readonly peerParts: Omit<VerbsPeerParts, 'incoming' | 'cache' | 'payloadBytes' | 'deviceName'>;
}

/** When a rank is to be greeted again. */
interface Patience {
  atMs: number;
  intervalMs: number;
}

export class VerbsChannel implements Channel {
  readonly #rank: number;
  readonly #device: Device;
  readonly #pd: ProtectionDomain;
  readonly #cq: CompletionQueue;
  readonly #ring: CompletionRing;
  readonly #greeter: Greeter;
  readonly #board: CardBoard;
  readonly #sizes: ConnectionSizes;
  readonly #peers = new Map<number, VerbsPeer>();
  readonly #connected: VerbsPeer[] = [];
  /** Peers of which something waits for room, or for their connection. */
  readonly #stalled: VerbsPeer[] = [];
  readonly #cards = new Map<number, Card>();
  readonly #patience = new Map<number, Patience>();
  /** Completions in the ring, and how many of them were dealt with. */
  #count = 0;
  #next = 0;
  #lookedAt = performance.now();
  #knockedAt = this.#lookedAt;
  readonly #failed = new Map<number, string>();

  /** @param ranks that it serves. */
  constructor(parts: VerbsChannelParts, ranks: readonly number[]) {
    const { rank, device, board, incoming, sizes, peerParts } = parts;
    this.#rank = rank;
    this.#device = device;
    this.#board = board;
    this.#sizes = sizes;
    this.#pd = device.allocPd();
    const wanted = Greeter.completions + ranks.length * Connection.completions(sizes);
    this.#cq = device.createCq(Math.min(wanted, device.query().maxCqe));
    this.#ring = this.#cq.ring(RING_SLOTS);
    this.#greeter = new Greeter(device, this.#pd, this.#cq);
    // Ranks of one job may open their memory to each other.
    const cache = this.#pd.createRegistrationCache({ trustPeers: true });
    const deviceName = `${device.name} of ${device.provider}`;
    for (const other of ranks) {
      const { payloadBytes } = sizes;
      const peer = VerbsPeer.create(other, {
        ...peerParts,
        incoming,
        cache,
        payloadBytes,
        deviceName,
      });
      peer.onStall = () => {
        if (!this.#stalled.includes(peer)) this.#stalled.push(peer);
        if (peer.connection?.state !== READY) this.#greet(peer);
      };
      this.#peers.set(other, peer);
    }
    board.publish(JSON.stringify(this.#greeter.card));
  }

  /** The way to a rank that it serves. */
  peer(rank: number): VerbsPeer {
    return this.#peers.get(rank) as VerbsPeer;
  }

  poll(): boolean {
    let moved = false;
    if (this.#next === this.#count) {
      this.#next = 0;
      this.#count = this.#cq.pollInto(this.#ring);
    }
    // By fields, since what is handled here may poll again.
    while (this.#next < this.#count) {
      this.#handle(this.#next++);
      moved = true;
    }
    const stalled = this.#stalled;
    for (let k = 0; k < stalled.length; k++) {
      const peer = stalled[k];
      if (peer.isStalled && peer.push()) moved = true;
      if (peer.isStalled) continue;
      stalled.splice(k--, 1);
    }
    return moved;
  }

  /** Has the device's next event end a sleep; what came before is to be looked for afterwards. */
  arm(): void {
    this.#cq.requestNotification();
  }

  /** Blocks until an event, for which `arm` asked, or until the time is over. */
  sleepSync(timeoutMs: number): void {
    this.#cq.channel?.waitSync(timeoutMs);
  }

  /** Calls back at the next event, for which `arm` asked, unless the returned function is called before. */
  watch(onEvent: () => void): () => void {
    const sleep = new AbortController();
    // Nothing else wakes the event loop for that.
    const looking = setInterval(() => {
      this.look();
    }, LOOK_MS).unref();
    this.#cq.channel?.eventOf(this.#cq.handle, 'init', Infinity, sleep.signal).then(onEvent, () => {
      // The sleep ended otherwise.
    });
    return () => {
      clearInterval(looking);
      sleep.abort();
    };
  }

  /** How many ranks were found to be gone. */
  get failures(): number {
    return this.#failed.size;
  }

  failed(): { rank: number; reason: string }[] {
    return [...this.#failed].map(([rank, reason]) => ({ rank, reason }));
  }

  /** What is to be done now and then while this rank waits: greets again, and asks for signs of life. */
  look(): void {
    const now = performance.now();
    if (now - this.#lookedAt < FIRST_GREETING_MS) return;
    this.#lookedAt = now;
    for (const peer of this.#stalled) {
      if (peer.connection?.state !== READY) this.#greet(peer);
    }
    if (now - this.#knockedAt < SILENCE_MS) return;
    this.#knockedAt = now;
    for (const peer of this.#connected) {
      const { connection } = peer;
      if (connection === undefined || peer.hasLeft || this.#failed.has(peer.rank)) continue;
      if (!connection.wasHeard) connection.knock();
      connection.wasHeard = false;
    }
  }

  /** Waits until all that was sent, to whom it was sent, and as much has come. */
  async leave(): Promise<void> {
    const others = this.#connected.filter(({ connection }) => connection?.state === READY);
    for (const { connection } of others) connection?.leave();
    const isThere = ({ rank }: VerbsPeer): boolean => !this.#failed.has(rank);
    const wait = async (isAwaited: (peer: VerbsPeer) => boolean, mostMs: number): Promise<void> => {
      const deadline = performance.now() + mostMs;
      while (others.some((peer) => isThere(peer) && isAwaited(peer))) {
        if (this.poll()) continue;
        if (performance.now() >= deadline) return;
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await wait(({ hasLeft }) => !hasLeft, LEAVE_MS);
    await wait(({ connection }) => connection?.isDelivered === false, ACKNOWLEDGEMENT_MS);
  }

  close(): void {
    // What nobody acknowledges any more is not to be sent again and again.
    for (const { connection } of this.#connected) connection?.abort();
    this.#device.close();
  }

  #handle(slot: number): void {
    const id = this.#ring.id(slot);
    const owner = ownerOf(id);
    const peer = owner === 0 ? undefined : this.#peers.get(owner - 1);
    const status = this.#ring.status(slot);
    if (peer === undefined) {
      this.#handleDatagram(id, status, this.#ring.byteLen(slot));
    } else if (status !== 0) {
      this.#lose(peer, WC_STATUS[status] ?? 'GENERAL_ERR');
    } else if (this.#failed.has(peer.rank)) {
      // What it had sent before came first.
    } else if (isSend(id)) {
      peer.connection?.complete(slotOf(id));
    } else {
      peer.handle(slotOf(id), this.#ring.byteLen(slot));
    }
  }

  #lose(peer: VerbsPeer, status: string): void {
    if (peer.hasLeft || this.#failed.has(peer.rank)) return;
    const state = peer.connection?.state;
    // Of one that this end has aborted only what was under way comes.
    if (state === undefined || state === GREETED) return;
    this.#failed.set(
      peer.rank,
      `the connection to it over ${this.#device.name} broke (${status}): its process ended, or nothing comes through to its host`,
    );
  }

  #handleDatagram(id: number, status: number, byteLength: number): void {
    if (isSend(id)) {
      this.#greeter.sent();
      return;
    }
    if (status !== 0) return;
    const greeting = this.#greeter.received(slotOf(id), byteLength);
    if (greeting !== undefined) this.#hear(greeting);
  }

  #hear({ from, state, endpoint }: Greeting): void {
    const peer = this.#peers.get(from);
    if (peer === undefined || this.#failed.has(from)) return;
    const connection = this.#connectionTo(peer);
    if (connection.state === GREETED && !this.#connect(from, connection, endpoint)) return;
    if (state >= CONNECTED) connection.state = READY;
    if (state < READY) this.#send(peer, connection);
  }

  #connect(rank: number, connection: Connection, endpoint: Endpoint): boolean {
    try {
      connection.connect(endpoint);
      return true;
    } catch (error) {
      if (!(error instanceof VerbsError)) throw error;
      this.#failed.set(rank, `no connection to it can be made: ${error.message}`);
      return false;
    }
  }

  /** Greets a rank if it was not greeted just now. */
  #greet(peer: VerbsPeer): void {
    const now = performance.now();
    let patience = this.#patience.get(peer.rank);
    if (patience !== undefined && now < patience.atMs) return;
    if (patience === undefined) {
      patience = { atMs: 0, intervalMs: FIRST_GREETING_MS };
      this.#patience.set(peer.rank, patience);
    }
    if (!this.#send(peer, this.#connectionTo(peer))) return;
    patience.atMs = now + patience.intervalMs;
    patience.intervalMs = Math.min(2 * patience.intervalMs, LAST_GREETING_MS);
  }

  /** False when the rank is not there yet. */
  #send(peer: VerbsPeer, { state, endpoint }: Connection): boolean {
    const card = this.#cardOf(peer.rank);
    if (card === undefined) return false;
    this.#greeter.greet(peer.rank, card, { from: this.#rank, state, endpoint });
    return true;
  }

  #cardOf(rank: number): Card | undefined {
    let card = this.#cards.get(rank);
    if (card === undefined) {
      const text = this.#board.read(rank);
      if (text === undefined) return undefined;
      card = JSON.parse(text) as Card;
      this.#cards.set(rank, card);
    }
    return card;
  }

  #connectionTo(peer: VerbsPeer): Connection {
    if (peer.connection !== undefined) return peer.connection;
    const connection = new Connection(peer.rank, this.#pd, this.#cq, this.#sizes);
    peer.attach(connection);
    this.#connected.push(peer);
    return connection;
  }
}
