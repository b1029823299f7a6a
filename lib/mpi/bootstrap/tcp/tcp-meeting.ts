/** A meeting by TCP with the job's secret, for ranks that no launcher joins. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { MpiError } from '../../errors.js';
import { EXCHANGE_BYTES, type Meeting } from '../meeting.js';
import type { FromThread, ThreadOptions, ToThread } from './thread-messages.js';

export class TcpMeeting implements Meeting {
  readonly rank: number;
  readonly size: number;
  readonly #worker: Worker;
  readonly #messages: FromThread[] = [];
  #wake: (() => void) | undefined;
  #problem: string | undefined;

  private constructor(options: ThreadOptions) {
    this.rank = options.rank;
    this.size = options.size;
    this.#worker = new Worker(new URL('thread.js', import.meta.url), {
      workerData: options,
      execArgv: [],
      name: 'viaduct meeting',
    });
    this.#worker.on('message', (message: FromThread) => {
      if (message.type === 'problem') this.#problem ??= message.message;
      else this.#messages.push(message);
      this.#wake?.();
    });
    this.#worker.on('error', (error: Error) => {
      this.#problem ??= error.message;
      this.#wake?.();
    });
    this.#worker.unref();
  }

  /**
   * Resolves when this rank has joined; others may still be on their way.
   *
   * @throws MpiError `ERR_MPI_LAUNCHER`
   */
  static async open(options: ThreadOptions): Promise<TcpMeeting> {
    const meeting = new TcpMeeting(options);
    try {
      await meeting.#hear('joined');
      return meeting;
    } catch (error) {
      meeting.close();
      throw error;
    }
  }

  async exchange(mine: Uint8Array): Promise<Uint8Array[]> {
    if (mine.length > EXCHANGE_BYTES) {
      throw new RangeError(`a rank may bring ${EXCHANGE_BYTES} bytes, not ${mine.length}`);
    }
    this.#say({ type: 'bring', value: Buffer.from(mine).toString('base64url') });
    const { values } = await this.#hear('brought');
    return values.map((value) => Buffer.from(value, 'base64url'));
  }

  /** From now on the failures of ranks elsewhere are marked in this aperture. */
  watch(aperture: string): void {
    this.#say({ type: 'watch', aperture });
  }

  async leave(): Promise<void> {
    this.#worker.ref();
    const ended = once(this.#worker, 'exit');
    this.#problem = undefined;
    this.#say({ type: 'leave' });
    // Lost meanwhile, or told: this rank needs nobody any longer.
    await Promise.race([this.#hear('left').catch(() => undefined), ended]);
    await this.#worker.terminate();
  }

  close(): void {
    void this.#worker.terminate();
  }

  #say(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  async #hear<T extends FromThread['type']>(type: T): Promise<FromThread & { type: T }> {
    this.#worker.ref();
    try {
      for (;;) {
        const message = this.#messages.shift();
        if (message?.type === type) return message as FromThread & { type: T };
        if (this.#problem !== undefined) {
          throw new MpiError('ERR_MPI_LAUNCHER', `init: ${this.#problem}`, { call: 'init' });
        }
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#worker.unref();
    }
  }
}
