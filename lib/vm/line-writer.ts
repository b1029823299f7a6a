/** Writes to a line whose far end loses what it can't hold: no more on its way than the window. */
import { FrameError } from './protocol.js';

export class LineWriter {
  readonly #windowBytes: number;
  readonly #write: (bytes: Buffer) => void;
  readonly #waiting: Buffer[] = [];
  #unreadBytes = 0;

  constructor(windowBytes: number, write: (bytes: Buffer) => void) {
    this.#windowBytes = windowBytes;
    this.#write = write;
  }

  /** Sends now or when the far end has read enough; in order. */
  write(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#pump();
  }

  /** @throws FrameError when the far end has read more than was sent. */
  acknowledge(byteLength: number): void {
    this.#unreadBytes -= byteLength;
    if (this.#unreadBytes < 0) throw new FrameError('it has read more than was sent');
    this.#pump();
  }

  #pump(): void {
    for (;;) {
      const [first] = this.#waiting;
      const roomBytes = this.#windowBytes - this.#unreadBytes;
      if (first === undefined || roomBytes === 0) return;
      const now = first.subarray(0, roomBytes);
      const later = first.subarray(roomBytes);
      if (later.byteLength === 0) this.#waiting.shift();
      else this.#waiting[0] = later;
      this.#unreadBytes += now.byteLength;
      this.#write(now);
    }
  }
}
