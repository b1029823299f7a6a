/** A TCP connection between the two ranks by Node's net: whole messages of a known size, one at a time. */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const connectWithinMs = 60_000;
const retryAfterMs = 50;

async function accept(address: string, port: number): Promise<Socket> {
  const server = createServer({ noDelay: true });
  try {
    return await new Promise<Socket>((resolve, reject) => {
      server.once('error', reject).once('connection', resolve).listen(port, address);
      setTimeout(
        () => reject(new Error(`no connection to ${address}:${port} within ${connectWithinMs} ms`)),
        connectWithinMs,
      ).unref();
    });
  } finally {
    server.close();
  }
}

async function connectTo(address: string, port: number): Promise<Socket> {
  const deadlineMs = performance.now() + connectWithinMs;
  for (;;) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect({ host: address, port, noDelay: true }, () => resolve(socket));
        socket.once('error', reject);
      });
    } catch (cause) {
      // Until the other rank listens there is nobody to answer.
      if (performance.now() > deadlineMs) {
        throw new Error(`no TCP connection to ${address}:${port} within ${connectWithinMs} ms`, {
          cause,
        });
      }
      await delay(retryAfterMs);
    }
  }
}

export class TcpStream {
  readonly #socket: Socket;
  #into: Uint8Array = new Uint8Array(0);
  #received = 0;
  #chunks: Buffer[] = [];
  #resolve: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#take();
    });
    const fail = (error: Error): void => {
      this.#failure ??= error;
      this.#reject?.(this.#failure);
    };
    socket.once('error', fail);
    socket.once('end', () => fail(new Error('the other rank closed the TCP connection')));
  }

  /** Rank 1 listens at its address, rank 0 connects to it. */
  static async between(
    rank: number,
    addresses: readonly string[],
    port: number,
  ): Promise<TcpStream> {
    const listener = addresses.at(1);
    if (listener === undefined) throw new Error('TCP needs the network addresses of two ranks');
    return new TcpStream(
      rank === 1 ? await accept(listener, port) : await connectTo(listener, port),
    );
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Fills `bytes`; one call at a time. */
  receive(bytes: Uint8Array): Promise<void> {
    this.#into = bytes;
    this.#received = 0;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.#failure && this.#chunks.length === 0) reject(this.#failure);
      this.#take();
    });
  }

  /** Rank 0's number, on both ranks. */
  async agree(rank: number, count: number): Promise<number> {
    const message = new Uint8Array(Int32Array.of(count).buffer);
    if (rank === 0) this.send(message);
    else await this.receive(message);
    return new Int32Array(message.buffer)[0];
  }

  async barrier(rank: number): Promise<void> {
    const token = new Uint8Array(1);
    if (rank === 0) this.send(token);
    await this.receive(token);
    if (rank === 1) this.send(token);
  }

  close(): void {
    this.#socket.destroySoon();
  }

  #take(): void {
    while (this.#resolve !== undefined) {
      const chunk = this.#chunks.shift();
      if (!chunk) return;
      const wanted = this.#into.length - this.#received;
      const taken = chunk.length > wanted ? chunk.subarray(0, wanted) : chunk;
      this.#into.set(taken, this.#received);
      this.#received += taken.length;
      if (chunk.length > wanted) this.#chunks.unshift(chunk.subarray(wanted));
      if (this.#received < this.#into.length) continue;
      const resolve = this.#resolve;
      this.#resolve = this.#reject = undefined;
      resolve();
    }
  }
}
