/** Carries a rank's output to the launcher's in whole lines, each with the rank in front. */
import type { Readable } from 'node:stream';

/** Takes bytes; resolves when it takes more. */
export interface Sink {
  write(bytes: Buffer): Promise<void>;
}

const NEWLINE = 0x0a;

/** A line longer than this goes on in pieces, so that a rank without newlines needs no memory. */
const LONGEST_HELD_LINE_BYTES = 1 << 20;

/** After the rank's end: how long its stream may be silent before whoever else holds it is given up. */
const HELD_OPEN_MS = 1000;

/** The bytes with the label in front of each line; `continues` if the first goes on with a line. */
function labelled(bytes: Buffer, label: Buffer, continues: boolean): Buffer {
  if (label.length === 0) return bytes;
  let lines = 0;
  for (let at = 0; at < bytes.length; lines++) {
    const end = bytes.indexOf(NEWLINE, at);
    at = end === -1 ? bytes.length : end + 1;
  }
  const out = Buffer.allocUnsafe(bytes.length + lines * label.length);
  let written = 0;
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, at);
    const end = newline === -1 ? bytes.length : newline + 1;
    if (!(continues && at === 0)) written += label.copy(out, written);
    written += bytes.copy(out, written, at, end);
    at = end;
  }
  return out.subarray(0, written);
}

/** Length of the bytes without a UTF-8 character that is cut off at their end. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** One output stream of one rank on its way to the launcher's stream of the same kind. */
export class LineRelay {
  /** Resolves when the rank's stream has ended and all of it was handed on; never rejects. */
  readonly done: Promise<void>;
  readonly #source: Readable;
  readonly #outlet: Sink;
  readonly #label: Buffer;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #continues = false;
  #chunks = 0;
  #reading = true;

  /** `label` goes in front of each line; with an empty one the bytes are the rank's own. */
  constructor(source: Readable, outlet: Sink, label: string) {
    this.#source = source;
    this.#outlet = outlet;
    this.#label = Buffer.from(label);
    this.done = this.#run();
  }

  /**
   * Says that the rank has ended: the stream then ends by itself, unless a process that the rank
   * left behind still holds it, which is not waited for.
   */
  rankEnded(): void {
    let seen = this.#chunks;
    const timer = setInterval(() => {
      // Not before the event loop has read what waits in the pipe, should it have stood still.
      setImmediate(() => {
        if (this.#reading && this.#chunks === seen) this.#source.destroy();
        seen = this.#chunks;
      });
    }, HELD_OPEN_MS);
    void this.done.then(() => clearInterval(timer));
  }

  async #run(): Promise<void> {
    try {
      for await (const chunk of this.#source as AsyncIterable<Buffer>) {
        this.#chunks++;
        this.#reading = false;
        await this.#take(chunk);
        this.#reading = true;
      }
    } catch {
      // A stream that breaks has ended for us; why its rank ended is told by the rank's exit.
    }
    await this.#flushPartialLine();
  }

  async #take(chunk: Buffer): Promise<void> {
    const complete = chunk.lastIndexOf(NEWLINE) + 1;
    const rest = chunk.subarray(complete);
    if (complete > 0) await this.#emit(this.#release(chunk.subarray(0, complete)));
    this.#held.push(rest);
    this.#heldBytes += rest.length;
    if (this.#heldBytes > LONGEST_HELD_LINE_BYTES) {
      const bytes = this.#release();
      const whole = wholeCharacters(bytes);
      this.#held.push(bytes.subarray(whole));
      this.#heldBytes = bytes.length - whole;
      await this.#emit(bytes.subarray(0, whole));
    }
  }

  #release(...more: Buffer[]): Buffer {
    const bytes = Buffer.concat([...this.#held, ...more]);
    this.#held = [];
    this.#heldBytes = 0;
    return bytes;
  }

  async #emit(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    const continues = this.#continues;
    this.#continues = bytes[bytes.length - 1] !== NEWLINE;
    await this.#outlet.write(labelled(bytes, this.#label, continues));
  }

  async #flushPartialLine(): Promise<void> {
    await this.#emit(this.#release());
    // With labels each line stands alone, so that the next rank's does not start within it.
    if (this.#continues && this.#label.length > 0) await this.#outlet.write(Buffer.from('\n'));
  }
}
