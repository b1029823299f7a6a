/** Half the round trip of a ping-pong over TCP, as a Node.js program does it today. */
import { checkPattern, checkedMessages, fillPattern, seedOf } from './payload.js';
import type { Exchange } from './sampling.js';
import type { TcpStream } from './tcp-stream.js';

export class TcpLatency implements Exchange {
  readonly mostIterations = { small: 1000, large: 200 };
  readonly #stream: TcpStream;
  readonly #rank: number;
  #sent = new Uint8Array(0);
  #received = new Uint8Array(0);

  constructor(stream: TcpStream, rank: number) {
    this.#stream = stream;
    this.#rank = rank;
  }

  async check(sizeBytes: number): Promise<void> {
    for (let message = 0; message < Math.min(20, checkedMessages(sizeBytes)); message++) {
      const seed = seedOf(sizeBytes, message, 1);
      this.prepare(sizeBytes, seed);
      await this.run(1);
      this.verify(seed);
    }
  }

  prepare(sizeBytes: number, seed: number): void {
    this.#sent = new Uint8Array(sizeBytes);
    this.#received = new Uint8Array(sizeBytes);
    fillPattern(this.#sent, seed + this.#rank);
  }

  async run(iterations: number): Promise<void> {
    for (let i = 0; i < iterations; i++) {
      if (this.#rank === 0) this.#stream.send(this.#sent);
      await this.#stream.receive(this.#received);
      if (this.#rank === 1) this.#stream.send(this.#sent);
    }
  }

  verify(seed: number): void {
    checkPattern(this.#received, seed + 1 - this.#rank);
  }

  figure(iterations: number, elapsedMs: number): number {
    return (elapsedMs * 1e3) / iterations / 2;
  }

  barrier(): Promise<void> {
    return this.#stream.barrier(this.#rank);
  }

  agree(count: number): Promise<number> {
    return this.#stream.agree(this.#rank, count);
  }
}
