/**
 * Windows of messages from rank 0 to rank 1 over TCP, each window answered once. A window has 64 messages
 * or 16 MiB, whichever is less: a stream has its speed long before, and in VMs more would take minutes.
 */
import { checkPattern, checkedWindow, fillPattern, seedOf, windowMessages } from './payload.js';
import type { Exchange } from './sampling.js';
import type { TcpStream } from './tcp-stream.js';

const windowBytes = 16 * 2 ** 20;

export class TcpBandwidth implements Exchange {
  readonly mostIterations = { small: 200, large: 40 };
  readonly #stream: TcpStream;
  readonly #rank: number;
  readonly #reply = new Uint8Array(1);
  #bytes = new Uint8Array(0);

  constructor(stream: TcpStream, rank: number) {
    this.#stream = stream;
    this.#rank = rank;
  }

  async check(sizeBytes: number): Promise<void> {
    const messages = checkedWindow(sizeBytes);
    for (let slot = 0; slot < messages; slot++) {
      const seed = seedOf(sizeBytes, 0, slot + 1);
      this.prepare(sizeBytes, seed);
      if (this.#rank === 0) {
        this.#stream.send(this.#bytes);
      } else {
        await this.#stream.receive(this.#bytes);
        this.verify(seed);
      }
    }
    await this.#answer();
  }

  prepare(sizeBytes: number, seed: number): void {
    this.#bytes = new Uint8Array(sizeBytes);
    if (this.#rank === 0) fillPattern(this.#bytes, seed);
  }

  async run(iterations: number): Promise<void> {
    const messages = this.#windowMessages();
    for (let i = 0; i < iterations; i++) {
      for (let message = 0; message < messages; message++) {
        if (this.#rank === 0) this.#stream.send(this.#bytes);
        else await this.#stream.receive(this.#bytes);
      }
      await this.#answer();
    }
  }

  verify(seed: number): void {
    checkPattern(this.#bytes, seed);
  }

  figure(iterations: number, elapsedMs: number): number {
    return (this.#bytes.length * this.#windowMessages() * iterations) / elapsedMs / 1e3;
  }

  barrier(): Promise<void> {
    return this.#stream.barrier(this.#rank);
  }

  agree(count: number): Promise<number> {
    return this.#stream.agree(this.#rank, count);
  }

  #windowMessages(): number {
    return Math.min(windowMessages, Math.ceil(windowBytes / this.#bytes.length));
  }

  async #answer(): Promise<void> {
    if (this.#rank === 0) await this.#stream.receive(this.#reply);
    else this.#stream.send(this.#reply);
  }
}
