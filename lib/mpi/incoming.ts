/** Where messages of all channels meet the receives, and the probes, that wait for them. */
import { ANY_SOURCE, ANY_TAG, NOTICES } from './constants.js';
import { MpiError } from './errors.js';
import {
  type Delivery,
  PostedReceives,
  UnexpectedMessage,
  UnexpectedMessages,
} from './matching.js';
import { Memory } from './memory.js';
import { MATCHED_PROBE, type Request, type RequestScope } from './request.js';

export class Incoming {
  readonly posted = new PostedReceives();
  readonly unexpected = new UnexpectedMessages();
  /** Messages about failures, for which nobody posts receives. */
  notices: UnexpectedMessage[] = [];
  /** Probes that wait, in the order in which they began. */
  readonly #probes: Request[] = [];

  get probes(): readonly Request[] {
    return this.#probes;
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
    key: number,
  ): UnexpectedMessage {
    const message = new UnexpectedMessage(
      context,
      source,
      tag,
      byteLength,
      delivery,
      payload,
      sendId,
      address,
      key,
    );
    this.unexpected.add(message);
    if (context === NOTICES) this.notices.push(message);
    if (this.#probes.length > 0) this.#showToProbes(message);
    return message;
  }

  /** Begins a receive: meets a message that has come already; false when none has. */
  meet(request: Request): boolean {
    const message = this.unexpected.find(request.context, request.peer, request.tag);
    if (message === undefined) return false;
    this.unexpected.remove(message);
    message.delivery.deliver(message, request);
    return true;
  }

  /** Begins a probe: meets a message that has come already; false when none has. */
  probe(request: Request): boolean {
    const message = this.unexpected.find(request.context, request.peer, request.tag);
    if (message === undefined) return false;
    this.#meetProbe(request, message);
    return true;
  }

  waitForProbe(request: Request): void {
    this.#probes.push(request);
  }

  /** Takes back a receive or a probe that has met no message; false when it has. */
  withdraw(request: Request): boolean {
    if (request.source >= 0) return false;
    if (!request.isProbe) {
      this.posted.remove(request);
      return true;
    }
    const index = this.#probes.indexOf(request);
    if (index >= 0) this.#probes.splice(index, 1);
    return index >= 0;
  }

  /** Receives and probes that a rank which is gone might have met, taken from those that wait. */
  takeHopeless(rank: number): Request[] {
    const isHopeless = (request: Request): boolean =>
      request.peer === rank ||
      (request.peer === ANY_SOURCE &&
        request.scope.rankOf(rank) >= 0 &&
        !request.scope.isAcknowledged(rank));
    return this.#take(isHopeless);
  }

  /** Those of one communicator. */
  takeOf(scope: RequestScope): Request[] {
    return this.#take((request) => request.scope === scope);
  }

  #take(isWanted: (request: Request) => boolean): Request[] {
    const taken = [...this.posted, ...this.#probes].filter(isWanted);
    for (const request of taken) this.withdraw(request);
    return taken;
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
      this.#makeRoom(request)
    );
  }

  /** Copies a message that was kept into the memory of the receive that has accepted it. */
  fill(request: Request, payload: Uint8Array): void {
    if (request.isOfAnySize && payload.byteLength > 0) request.memory = Memory.of(payload);
    else request.memory.bytes.set(payload);
    request.complete();
  }

  shrunk(request: Request): MpiError {
    return new MpiError(
      'ERR_MPI_BUFFER',
      `${request.describe()}: its buffer was detached, transferred or shrunk while the operation was under way; ` +
        'leave a buffer alone until its request is done',
      { operands: request.operands() },
    );
  }

  #makeRoom(request: Request): boolean {
    const { memory, byteLength } = request;
    if (request.isOfAnySize) {
      try {
        request.memory = Memory.of(allocate(byteLength));
        return true;
      } catch (cause) {
        request.fail(noMemory(request, cause));
        return false;
      }
    }
    request.fail(byteLength <= memory.byteLength ? this.shrunk(request) : truncated(request));
    return false;
  }

  #showToProbes(message: UnexpectedMessage): void {
    for (let index = 0; index < this.#probes.length;) {
      const probe = this.#probes[index];
      if (
        probe.context === message.context &&
        (probe.peer === message.source || probe.peer === ANY_SOURCE) &&
        (probe.tag === message.tag || probe.tag === ANY_TAG)
      ) {
        this.#probes.splice(index, 1);
        this.#meetProbe(probe, message);
        // What a matched probe has taken is not there for others.
        if (probe.kind === MATCHED_PROBE) return;
      } else {
        index++;
      }
    }
  }

  #meetProbe(probe: Request, message: UnexpectedMessage): void {
    probe.source = message.source;
    probe.matchedTag = message.tag;
    probe.byteLength = message.byteLength;
    if (probe.kind === MATCHED_PROBE) {
      this.unexpected.remove(message);
      probe.message = message;
    }
    probe.complete();
  }
}

/** Memory of its own for a message of unknown size; not cleared, for all of it is written before anybody sees it. */
function allocate(byteLength: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(byteLength).buffer);
}

function noMemory(request: Request, cause: unknown): MpiError {
  const { byteLength } = request;
  return new MpiError(
    'ERR_MPI_NO_MEM',
    `${request.describe()}: no memory for a message of ${byteLength} bytes; the message is lost`,
    { operands: { ...request.operands(), byteLength }, cause },
  );
}

function truncated(request: Request): MpiError {
  const { matchedTag: tag, byteLength } = request;
  const capacity = request.memory.byteLength;
  const source = request.scope.rankOf(request.source);
  return new MpiError(
    'ERR_MPI_TRUNCATE',
    `a message of ${byteLength} bytes from rank ${source}, tag ${tag}, is too long for the receive buffer ` +
      `of ${capacity} bytes; the message is lost, receive into a larger buffer`,
    { operands: { source, tag, byteLength, capacity } },
  );
}
