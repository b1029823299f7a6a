/** Windows of 64 non-blocking messages from rank 0 to rank 1, each window answered once, over viaduct's MPI. */
import { Request } from 'viaduct/mpi';
import type { Communicator } from 'viaduct/mpi';

import {
  checkPattern,
  checkedMessages,
  checkedWindow,
  fillPattern,
  seedOf,
  windowMessages,
} from './payload.js';
import type { Exchange } from './sampling.js';

const messageTag = 1;
const replyTag = 2;
const countTag = 3;

export class MpiBandwidth implements Exchange {
  readonly mostIterations = { small: 200, large: 40 };
  readonly #world: Communicator;
  readonly #peer: number;
  readonly #buffer: Uint8Array;
  readonly #windowBuffer: Uint8Array;
  readonly #reply = new Uint8Array(1);
  #window: Uint8Array[] = [];

  constructor(world: Communicator, sizes: readonly number[]) {
    this.#world = world;
    this.#peer = 1 - world.rank;
    this.#buffer = new Uint8Array(Math.max(...sizes));
    this.#windowBuffer = new Uint8Array(
      Math.max(...sizes.map((size) => size * checkedWindow(size))),
    );
  }

  check(sizeBytes: number): void {
    const messages = checkedWindow(sizeBytes);
    this.#window = Array.from({ length: messages }, (_, slot) =>
      this.#windowBuffer.subarray(slot * sizeBytes, (slot + 1) * sizeBytes),
    );
    for (let iteration = 0; iteration * messages < checkedMessages(sizeBytes); iteration++) {
      const seedOfSlot = (slot: number): number => seedOf(sizeBytes, iteration, slot + 1);
      this.#window.forEach((slotBytes, slot) => this.#fill(slotBytes, seedOfSlot(slot)));
      this.run(1);
      this.#window.forEach((slotBytes, slot) => checkPattern(slotBytes, seedOfSlot(slot)));
    }
  }

  /** One buffer for the whole window, as the OSU micro-benchmarks have it: memory stays in the caches. */
  prepare(sizeBytes: number, seed: number): void {
    const bytes = this.#buffer.subarray(0, sizeBytes);
    this.#fill(bytes, seed);
    this.#window = new Array<Uint8Array>(windowMessages).fill(bytes);
  }

  run(iterations: number): void {
    const world = this.#world;
    const peer = this.#peer;
    const window = this.#window;
    const reply = this.#reply;
    const requests = new Array<Request>(window.length);
    for (let i = 0; i < iterations; i++) {
      if (world.rank === 0) {
        for (let slot = 0; slot < window.length; slot++) {
          requests[slot] = world.isend(window[slot], peer, messageTag);
        }
        Request.waitAllSync(requests);
        world.recvSync(reply, peer, replyTag);
      } else {
        for (let slot = 0; slot < window.length; slot++) {
          requests[slot] = world.irecv(window[slot], peer, messageTag);
        }
        Request.waitAllSync(requests);
        world.sendSync(reply, peer, replyTag);
      }
    }
  }

  verify(seed: number): void {
    checkPattern(this.#window[0], seed);
  }

  figure(iterations: number, elapsedMs: number): number {
    const bytes = this.#window[0].length * windowMessages * iterations;
    return bytes / elapsedMs / 1e3;
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

  #fill(bytes: Uint8Array, seed: number): void {
    if (this.#world.rank === 0) fillPattern(bytes, seed);
    else bytes.fill(0);
  }
}
