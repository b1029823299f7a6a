/** Cards of ranks that share no memory: each brings its own to one exchange of all ranks of the job. */
import type { CardBoard } from './card.js';

export class ExchangedCards implements CardBoard {
  #mine = '';
  #cards: readonly string[] = [];

  publish(text: string): void {
    this.#mine = text;
  }

  read(rank: number): string | undefined {
    return this.#cards[rank];
  }

  /** @param exchange of the ranks' membership. */
  async exchange(exchange: (mine: Uint8Array) => Promise<Uint8Array[]>): Promise<void> {
    const brought = await exchange(Buffer.from(this.#mine, 'utf8'));
    this.#cards = brought.map((card) => Buffer.from(card).toString('utf8'));
  }
}
