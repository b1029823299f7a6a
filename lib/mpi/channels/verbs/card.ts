/** What ranks tell each other before any of them speaks to another over verbs: where to greet it. */
import type { Endpoint } from '../../../verbs/index.js';

/** Where a rank listens for greetings: its datagram queue pair, and the device behind it. */
export interface Card {
  readonly device: string;
  readonly provider: string;
  readonly linkLayer: string;
  /** Whether the endpoint's address means something on other hosts. */
  readonly isRoutable: boolean;
  /** Of the datagram queue pair; its key is the rank's secret within the job. */
  readonly endpoint: Endpoint;
}

/** Where cards are laid out, by whoever brought the ranks together. */
export interface CardBoard {
  /** Shows this rank's card; throws when there is no room for it. */
  publish(text: string): void;
  /** The card of a rank; undefined as long as it has shown none. */
  read(rank: number): string | undefined;
}
