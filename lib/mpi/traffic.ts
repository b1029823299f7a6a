/** Counts of messages and bytes between this rank and another, by the protocol that carried them. */
import type { RegistrationCacheStats } from '../verbs/index.js';

export const INLINE_MESSAGES = 0;
export const EAGER_MESSAGES = 1;
export const SINGLE_COPY_MESSAGES = 2;
export const FRAGMENTED_MESSAGES = 3;
export const LOCAL_MESSAGES = 4;
export const RDMA_READ_MESSAGES = 5;
export const RDMA_WRITE_MESSAGES = 6;
const PROTOCOLS = [
  'inline',
  'eager',
  'single-copy',
  'fragments',
  'local',
  'rdma-read',
  'rdma-write',
] as const;
/**
 * How messages travel; `Explanation.protocol` says what the names mean.
 *
 * @useDeclaredType
 */
export type MessageProtocol = (typeof PROTOCOLS)[number];

/** How much one protocol carried in one direction. */
export interface Traffic {
  /** How many messages. */
  readonly messages: number;
  /** The sum of their sizes. */
  readonly bytes: number;
}

/** What has gone to and come from one rank; what `explain` says of a protocol's name holds here too. */
export interface TrafficCounters {
  /** To the rank. */
  readonly sent: Readonly<Record<MessageProtocol, Traffic>>;
  /** From the rank. */
  readonly received: Readonly<Record<MessageProtocol, Traffic>>;
  /** How many of its messages came before their receives. */
  readonly unexpectedMessages: number;
  /** Of the cache that all peers of the verbs channel share; undefined on other channels. */
  readonly registrationCache?: RegistrationCacheStats;
}

export class TrafficCounts {
  // Typed arrays, for in a hot path a number that outgrows 31 bits would make objects.
  readonly #sent = new Float64Array(2 * PROTOCOLS.length);
  readonly #received = new Float64Array(2 * PROTOCOLS.length);
  readonly #unexpected = new Float64Array(1);

  addSent(protocol: number, bytes: number): void {
    this.#sent[protocol]++;
    this.#sent[protocol + PROTOCOLS.length] += bytes;
  }

  addReceived(protocol: number, bytes: number): void {
    this.#received[protocol]++;
    this.#received[protocol + PROTOCOLS.length] += bytes;
  }

  addUnexpected(): void {
    this.#unexpected[0]++;
  }

  read(): TrafficCounters {
    return {
      sent: byProtocol(this.#sent),
      received: byProtocol(this.#received),
      unexpectedMessages: this.#unexpected[0],
    };
  }
}

function byProtocol(counts: Float64Array): TrafficCounters['sent'] {
  const entries = PROTOCOLS.map((name, at): [string, Traffic] => [
    name,
    { messages: counts[at], bytes: counts[at + PROTOCOLS.length] },
  ]);
  return Object.fromEntries(entries) as TrafficCounters['sent'];
}
