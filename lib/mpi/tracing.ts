/** What records a trace: an engine, a way to peers and a place of matching that are as others, and note what passes. */
import type { Explanation, Peer } from './channels/channel.js';
import { Engine, type EngineParts } from './engine.js';
import { Incoming } from './incoming.js';
import type { UnexpectedMessage } from './matching.js';
import type { Request } from './request.js';
import type { Trace } from './trace.js';
import type { TrafficCounters } from './traffic.js';

/**
 * Numbers messages of one envelope: they meet receives in the order in which they were sent (MPI 4.1, section 3.5), so
 * both ends count alike. A send that is cancelled is counted too, and shifts the arrows that follow.
 */
class Flows {
  readonly #counts = new Map<string, number>();

  next(source: number, destination: number, context: number, tag: number): string {
    const key = `${source}>${destination} ${context} ${tag}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return `${key} ${count}`;
  }
}

/** Numbers messages when they meet their receives. */
export class TracedIncoming extends Incoming {
  readonly #rank: number;
  readonly #flows = new Flows();
  readonly #flowOf = new WeakMap<Request, string>();

  constructor(rank: number) {
    super();
    this.#rank = rank;
  }

  override accept(request: Request, source: number, tag: number, byteLength: number): boolean {
    this.#flowOf.set(request, this.#flows.next(source, this.#rank, request.context, tag));
    return super.accept(request, source, tag, byteLength);
  }

  /** Once, for a request may be used again. */
  takeFlow(request: Request): string | undefined {
    const flow = this.#flowOf.get(request);
    this.#flowOf.delete(request);
    return flow;
  }
}

export class TracedPeer implements Peer {
  readonly #peer: Peer;
  readonly #rank: number;
  readonly #ownRank: number;
  readonly #trace: Trace;
  readonly #flows = new Flows();

  constructor(peer: Peer, rank: number, ownRank: number, trace: Trace) {
    this.#peer = peer;
    this.#rank = rank;
    this.#ownRank = ownRank;
    this.#trace = trace;
  }

  /** A message that is gone at once is taken the long way all the same, with a request to look at. */
  trySend(): boolean {
    return false;
  }

  send(request: Request): void {
    const { context, tag, memory, scope } = request;
    const span = this.#trace.begin();
    const flow = this.#flows.next(this.#ownRank, this.#rank, context, tag);
    request.observe(() => {
      this.#trace.end(span, {
        name: 'send',
        peer: this.#rank,
        tag,
        bytes: memory.byteLength,
        communicator: scope.name,
        error: request.error?.message,
        flow,
      });
    });
    this.#peer.send(request);
  }

  withdraw(request: Request): boolean | undefined {
    return this.#peer.withdraw(request);
  }

  fail(error: (request: Request) => Error): void {
    this.#peer.fail(error);
  }

  pending(): Request[] {
    return this.#peer.pending();
  }

  explain(byteLength: number): Explanation {
    return this.#peer.explain(byteLength);
  }

  counters(): TrafficCounters {
    return this.#peer.counters();
  }

  deliver(message: UnexpectedMessage, request: Request): void {
    this.#peer.deliver(message, request);
  }
}

export class TracedEngine extends Engine {
  readonly #trace: Trace;
  readonly #incoming: TracedIncoming;

  constructor(parts: EngineParts & { readonly incoming: TracedIncoming }, trace: Trace) {
    const { rank } = parts;
    const peers = parts.peers.map((peer, other) => new TracedPeer(peer, other, rank, trace));
    super({ ...parts, peers });
    this.#trace = trace;
    this.#incoming = parts.incoming;
  }

  override startReceive(request: Request): void {
    this.#observe(request);
    super.startReceive(request);
  }

  override receiveMatched(message: UnexpectedMessage, request: Request): void {
    this.#observe(request);
    super.receiveMatched(message, request);
  }

  #observe(request: Request): void {
    const span = this.#trace.begin();
    request.observe(() => {
      const { source, peer, matchedTag, byteLength, scope, error } = request;
      this.#trace.end(span, {
        name: 'receive',
        peer: source >= 0 ? source : peer,
        tag: matchedTag,
        bytes: byteLength,
        communicator: scope.name,
        error: error?.message,
        flow: this.#incoming.takeFlow(request),
      });
    });
  }
}
