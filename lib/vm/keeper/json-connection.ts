/** Messages over a Unix socket between the command and a machine's keeper: one line of JSON each, bytes as base64. */
import type { Socket } from 'node:net';

/** Neither side sends longer lines; who does is no peer of ours. */
const LIMIT_CHARACTERS = 4 * 2 ** 20;

export class JsonConnection<Incoming, Outgoing> {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    // The reader learns of it when its messages end.
    socket.on('error', () => {});
  }

  get open(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /** Resolves when the peer has room for more; what is sent to one that is gone is lost. */
  async send(message: Outgoing): Promise<void> {
    if (!this.open || this.#socket.write(`${JSON.stringify(message)}\n`)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done);
        resolve();
      };
      this.#socket.on('drain', done).on('close', done);
    });
  }

  /**
   * The peer's messages, taken as fast as they are asked for.
   *
   * @throws SyntaxError on what is no JSON, RangeError on a line that is too long
   */
  async *messages(): AsyncGenerator<Incoming, void, void> {
    let rest = '';
    for await (const text of this.#socket as AsyncIterable<string>) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > LIMIT_CHARACTERS)
        throw new RangeError('a message is longer than the limit');
      for (const line of lines) yield JSON.parse(line) as Incoming;
    }
  }

  onClose(listener: () => void): void {
    if (this.#socket.closed) listener();
    else this.#socket.once('close', listener);
  }

  /** Sends what is left, then closes. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
