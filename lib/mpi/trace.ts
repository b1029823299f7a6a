/**
 * A trace of messages, for chrome://tracing and Perfetto (the JSON array of the Trace Event Format): one process for each
 * rank, a span for each send and receive from its beginning to its end, an arrow from each send to its receive.
 *
 * Each rank writes a file of its own, `FILE.RANK`, which such programs can read even if the rank is killed; when the job
 * ends in good order rank 0 joins them in `FILE`.
 */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

import { MpiError } from './errors.js';

const FLUSH_AT_EVENTS = 4096;

/** What the trace shows of an operation. */
export interface Traced {
  readonly name: 'send' | 'receive';
  /** Rank of the world. */
  readonly peer: number;
  readonly tag: number;
  readonly bytes: number;
  readonly communicator: string;
  readonly error?: string | undefined;
  /** Equal for a send and its receive. */
  readonly flow?: string | undefined;
}

/** An operation under way: when it began, and its line in the picture, where nothing else is at the same time. */
export interface Span {
  readonly startUs: number;
  readonly lane: number;
}

export class Trace {
  readonly #file: string;
  readonly #rank: number;
  readonly #lanes: boolean[] = [];
  #events: string[] = [];
  #isOpen = true;
  readonly #onExit = (): void => {
    this.close();
  };

  /** @throws MpiError `ERR_MPI_ENVIRONMENT` when the file can't be written. */
  constructor(file: string, rank: number) {
    this.#file = file;
    this.#rank = rank;
    const head = { ph: 'M', name: 'process_name', pid: rank, args: { name: `rank ${rank}` } };
    try {
      writeFileSync(this.#part(rank), `[\n${JSON.stringify(head)}`);
    } catch (cause) {
      throw new MpiError(
        'ERR_MPI_ENVIRONMENT',
        `init: VIADUCT_TRACE=${file}: this rank can't write ${this.#part(rank)}; name a file in a folder that all ` +
          'may write to (the host’s files are read-only in virtual machines)',
        { call: 'init', operands: { file }, cause },
      );
    }
    process.on('exit', this.#onExit);
  }

  begin(): Span {
    let lane = this.#lanes.indexOf(false);
    if (lane < 0) lane = this.#lanes.length;
    this.#lanes[lane] = true;
    return { startUs: now(), lane };
  }

  end({ startUs, lane }: Span, { name, flow, ...args }: Traced): void {
    this.#lanes[lane] = false;
    if (!this.#isOpen) return;
    const place = { pid: this.#rank, tid: lane };
    const dur = now() - startUs;
    this.#add({ ph: 'X', name, ...place, ts: startUs, dur, args });
    if (flow !== undefined) {
      const ends =
        name === 'send' ? { ph: 's', ts: startUs } : { ph: 'f', bp: 'e', ts: startUs + dur };
      this.#add({ name: 'message', cat: 'message', id: flow, ...place, ...ends });
    }
  }

  /** Writes what is left; no more is recorded. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off('exit', this.#onExit);
    this.#flush();
    appendFileSync(this.#part(this.#rank), '\n]\n');
  }

  /** Joins the traces of all ranks, which have closed theirs. */
  join(ranks: number): void {
    const events: unknown[] = [];
    for (let rank = 0; rank < ranks; rank++) {
      events.push(...(JSON.parse(readFileSync(this.#part(rank), 'utf8')) as unknown[]));
    }
    writeFileSync(
      this.#file,
      `[\n${events.map((event) => JSON.stringify(event)).join(',\n')}\n]\n`,
    );
    for (let rank = 0; rank < ranks; rank++) rmSync(this.#part(rank));
  }

  #part(rank: number): string {
    return `${this.#file}.${rank}`;
  }

  #add(event: object): void {
    this.#events.push(JSON.stringify(event));
    if (this.#events.length >= FLUSH_AT_EVENTS) this.#flush();
  }

  #flush(): void {
    appendFileSync(this.#part(this.#rank), this.#events.map((event) => `,\n${event}`).join(''));
    this.#events = [];
  }
}

/** Microseconds on a clock that the ranks of one host share. */
function now(): number {
  return (performance.timeOrigin + performance.now()) * 1000;
}
