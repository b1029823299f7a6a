/** Shows on stderr how far a run is: one live line on a terminal, else a plain line for each step. */
import { formatSeconds, formatSize } from './format.js';

export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class Progress {
  readonly #stream: ProgressStream;
  readonly #totalSizes: number;
  readonly #startMs = performance.now();
  #sizesDone = 0;
  #step = '';
  #liveLine = false;

  /** @param totalSizes how many results the whole run will bring */
  constructor(stream: ProgressStream, totalSizes: number) {
    this.#stream = stream;
    this.#totalSizes = totalSizes;
  }

  step(text: string): void {
    this.#step = text;
    if (this.#stream.isTTY) this.#draw(text);
    else this.#stream.write(`${this.#prefix()} ${text}\n`);
  }

  result(sizeBytes: number): void {
    this.#sizesDone++;
    if (this.#stream.isTTY) this.#draw(`${this.#step}, ${formatSize(sizeBytes)}`);
  }

  /** A line that stays. */
  note(text: string): void {
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.#liveLine) this.#stream.write('\r\x1b[2K');
    this.#liveLine = false;
  }

  #prefix(): string {
    const percent = Math.floor((100 * this.#sizesDone) / Math.max(1, this.#totalSizes));
    return `[${String(percent).padStart(3)} %, ${formatSeconds(performance.now() - this.#startMs)}]`;
  }

  #draw(text: string): void {
    const line = `${this.#prefix()} ${text}`.slice(0, (this.#stream.columns ?? 80) - 1);
    this.#stream.write(`\r\x1b[2K${line}`);
    this.#liveLine = true;
  }
}
