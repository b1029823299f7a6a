/** What the engine asks of the way to one peer. */
import type { Memory } from '../memory.js';
import type { Delivery } from '../matching.js';
import type { Request } from '../request.js';

/** The way to one rank; there is one for each rank of the world. */
export interface Peer extends Delivery {
  /** Sends a message at once if that needs no waiting and no request; false: use `send`. */
  trySend(context: number, tag: number, memory: Memory): boolean;
  /** Begins a send that `progress` will complete. */
  send(request: Request): void;
  /** Takes a send back that has not begun; false when it has. */
  withdraw(request: Request): boolean;
  /** Fails what is under way with a peer that is gone. */
  fail(error: (request: Request) => Error): void;
}
