/** Where messages of all channels meet the receives that were posted for them. */
import { MpiError } from './errors.js';
import {
  type Delivery,
  PostedReceives,
  UnexpectedMessage,
  UnexpectedMessages,
} from './matching.js';
import type { Request } from './request.js';

export class Incoming {
  readonly posted: PostedReceives;
  readonly #unexpected: UnexpectedMessages;

  constructor(ranks: number) {
    this.posted = new PostedReceives(ranks);
    this.#unexpected = new UnexpectedMessages(ranks);
  }

  /** The receive that a message meets, taken from those that wait. */
  match(context: number, source: number, tag: number): Request | undefined {
    return this.posted.match(context, source, tag);
  }

  /** Keeps a message for a receive that is yet to come. */
  keep(
    context: number,
    source: number,
    tag: number,
    byteLength: number,
    delivery: Delivery,
    payload: Uint8Array | undefined,
    sendId: number,
    address: number,
  ): void {
    this.#unexpected.add(
      new UnexpectedMessage(context, source, tag, byteLength, delivery, payload, sendId, address),
    );
  }

  /** Begins a receive: meets a message that has come already; false when none has. */
  meet(request: Request): boolean {
    const message = this.#unexpected.match(request.context, request.peer, request.tag);
    if (message === undefined) return false;
    message.delivery.deliver(message, request);
    return true;
  }

  /**
   * Notes the envelope of the message that a receive has met and checks that it fits (MPI 4.1, section 3.2.2); false
   * after failing the request.
   */
  accept(request: Request, source: number, tag: number, byteLength: number): boolean {
    request.source = source;
    request.matchedTag = tag;
    request.byteLength = byteLength;
    const { memory } = request;
    return (
      (byteLength <= memory.byteLength && memory.bytes.length === memory.byteLength) ||
      this.#refuse(request)
    );
  }

  #refuse(request: Request): false {
    const { memory, source, matchedTag: tag, byteLength } = request;
    request.fail(
      byteLength <= memory.byteLength
        ? this.shrunk(request)
        : new MpiError(
            'ERR_MPI_TRUNCATE',
            `a message of ${byteLength} bytes from rank ${source}, tag ${tag}, is too long for the receive buffer ` +
              `of ${memory.byteLength} bytes; the message is lost, receive into a larger buffer`,
            { operands: { source, tag, byteLength, capacity: memory.byteLength } },
          ),
    );
    return false;
  }

  shrunk(request: Request): MpiError {
    return new MpiError(
      'ERR_MPI_BUFFER',
      `${request.describe()}: its buffer was detached, transferred or shrunk while the operation was under way; ` +
        'leave a buffer alone until its request is done',
      { operands: request.operands() },
    );
  }
}
