/** One stream that many ranks write to: waits for a slow reader, remembers a broken one. */
import type { Writable } from 'node:stream';

/** Writes of several ranks to one stream, each waiting when the stream's reader is behind. */
export class Outlet {
  readonly #stream: Writable;
  readonly #broken: (error: Error) => void;
  readonly #onDrain = (): void => this.#wake?.();
  #drained: Promise<void> | undefined;
  #failed = false;
  #wake: (() => void) | undefined;

  /** `onBroken` is told once if the stream fails; what is written after that goes nowhere. */
  constructor(stream: Writable, onBroken: (error: Error) => void) {
    this.#stream = stream;
    this.#broken = (error) => {
      if (this.#failed) return;
      this.#failed = true;
      this.#wake?.();
      onBroken(error);
    };
    stream.on('error', this.#broken);
    stream.on('drain', this.#onDrain);
  }

  /** Resolves when the stream takes more. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#failed || bytes.length === 0) return;
    if (!this.#stream.writable) {
      // What broke it may not have been emitted yet.
      this.#broken(this.#stream.errored ?? new Error('the stream is closed'));
      return;
    }
    if (this.#stream.write(bytes)) return;
    this.#drained ??= new Promise((resolve) => {
      this.#wake = () => {
        this.#drained = undefined;
        this.#wake = undefined;
        resolve();
      };
    });
    await this.#drained;
  }

  /** Resolves when all that was written has left this process. */
  async flush(): Promise<void> {
    if (this.#failed || !this.#stream.writable) return;
    await new Promise<void>((resolve) => {
      this.#stream.write('', () => resolve());
    });
  }

  /** Lets go of the stream, which stays open. */
  close(): void {
    this.#stream.off('drain', this.#onDrain);
    // With bytes still under way an error may come late, and must not end this process.
    if (this.#stream.writableLength === 0) this.#stream.off('error', this.#broken);
  }
}
