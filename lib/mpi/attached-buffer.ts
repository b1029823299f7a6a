/** Where buffered sends keep messages that could not go at once (MPI 4.1, section 3.6). */
import { MpiError } from './errors.js';
import { Memory } from './memory.js';
import type { Request } from './request.js';

/** Bytes that a message may take in an attached buffer besides its own (MPI_BSEND_OVERHEAD). */
export const BSEND_OVERHEAD = 8;

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly request: Request;
}

export class AttachedBuffer {
  readonly #bytes: Uint8Array | undefined;
  /** In the order of their places; those of requests that are done are free. */
  #pieces: Piece[] = [];

  /** @param bytes undefined: each message gets memory of its own (MPI_BUFFER_AUTOMATIC). */
  constructor(bytes: Uint8Array | undefined) {
    this.#bytes = bytes;
  }

  /** Requests whose messages are still here. */
  get pending(): Request[] {
    this.#pieces = this.#pieces.filter(({ request }) => !request.done);
    return this.#pieces.map(({ request }) => request);
  }

  /**
   * Copies a message for a request that is to send it from here.
   *
   * @throws MpiError `ERR_MPI_BUFFER` when there is no room.
   */
  hold(memory: Memory, request: Request): Memory {
    const { pending } = this;
    const { byteLength } = memory;
    const start = this.#bytes === undefined ? 0 : this.#findRoom(byteLength);
    if (start < 0) throw this.#noRoom(byteLength, pending.length);
    const copy = this.#bytes?.subarray(start, start + byteLength) ?? new Uint8Array(byteLength);
    copy.set(memory.bytes);
    this.#pieces.push({ start, end: start + Math.ceil(byteLength / 8) * 8, request });
    this.#pieces.sort((a, b) => a.start - b.start);
    return Memory.of(copy);
  }

  #findRoom(byteLength: number): number {
    let start = 0;
    for (const piece of this.#pieces) {
      if (piece.start - start >= byteLength) return start;
      start = piece.end;
    }
    return start + byteLength <= this.#bytes!.length ? start : -1;
  }

  #noRoom(byteLength: number, messages: number): MpiError {
    const capacity = this.#bytes!.length;
    return new MpiError(
      'ERR_MPI_BUFFER',
      `bsend: the attached buffer of ${capacity} bytes holds ${messages} messages that are under way and has no room ` +
        `for ${byteLength} more bytes in a row; attach a larger one (each message takes up to ${BSEND_OVERHEAD} bytes ` +
        'more than its own), or none for memory as needed',
      { call: 'bsend', operands: { byteLength, capacity, messages } },
    );
  }
}
