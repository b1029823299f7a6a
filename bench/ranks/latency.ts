/** Half the round trip of a ping-pong of blocking sends and receives over viaduct's MPI. */
import { type Communicator, Status } from 'viaduct/mpi';

import { checkPattern, checkedMessages, fillPattern, seedOf } from './payload.js';
import type { Exchange } from './sampling.js';

const messageTag = 1;
const countTag = 3;

export class MpiLatency implements Exchange {
  readonly mostIterations = { small: 10_000, large: 1000 };
  readonly #world: Communicator;
  readonly #peer: number;
  /** Kept, as tight loops should: a new one for each message would have the garbage collected in between. */
  readonly #status = new Status();
  readonly #sendBuffer: Uint8Array;
  readonly #receiveBuffer: Uint8Array;
  #sent: Uint8Array;
  #received: Uint8Array;

  constructor(world: Communicator, largestBytes: number) {
    this.#world = world;
    this.#peer = 1 - world.rank;
    this.#sendBuffer = this.#sent = new Uint8Array(largestBytes);
    this.#receiveBuffer = this.#received = new Uint8Array(largestBytes);
  }

  check(sizeBytes: number): void {
    for (let message = 0; message < checkedMessages(sizeBytes); message++) {
      const seed = seedOf(sizeBytes, message, 1);
      this.prepare(sizeBytes, seed);
      this.run(1);
      this.verify(seed);
    }
  }

  prepare(sizeBytes: number, seed: number): void {
    this.#sent = this.#sendBuffer.subarray(0, sizeBytes);
    this.#received = this.#receiveBuffer.subarray(0, sizeBytes);
    fillPattern(this.#sent, seed + this.#world.rank);
    this.#received.fill(0);
  }

  run(iterations: number): void {
    const world = this.#world;
    const peer = this.#peer;
    const sent = this.#sent;
    const received = this.#received;
    const status = this.#status;
    if (world.rank === 0) {
      for (let i = 0; i < iterations; i++) {
        world.sendSync(sent, peer, messageTag);
        world.recvSync(received, peer, messageTag, status);
      }
    } else {
      for (let i = 0; i < iterations; i++) {
        world.recvSync(received, peer, messageTag, status);
        world.sendSync(sent, peer, messageTag);
      }
    }
  }

  verify(seed: number): void {
    checkPattern(this.#received, seed + this.#peer);
  }

  figure(iterations: number, elapsedMs: number): number {
    return (elapsedMs * 1e3) / iterations / 2;
  }

  barrier(): void {
    this.#world.barrierSync();
  }

  agree(count: number): number {
    const message = Int32Array.of(count);
    if (this.#world.rank === 0) this.#world.sendSync(message, this.#peer, countTag);
    else this.#world.recvSync(message, this.#peer, countTag);
    return message[0];
  }
}
