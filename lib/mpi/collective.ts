/**
 * How operations of several messages are written: as a generator that yields each request it has to wait for, and is
 * driven by blocking or by awaiting.
 */
import { MpiError } from './errors.js';
import type { Group } from './group.js';
import { Memory, NO_MEMORY } from './memory.js';
import { RECEIVE, Request, SEND } from './request.js';
import type { Scope } from './scope.js';

/** Steps of an operation with a result of type T. */
export type Steps<T> = Generator<Request, T, void>;

export function runSync<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (!value.done) value.scope.owner.wait(value);
    if (value.error !== undefined) throw value.error;
  }
}

export async function run<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (!value.done) await new Promise<void>((resolve) => value.listen(resolve));
    if (value.error !== undefined) throw value.error;
  }
}

/** The ranks that an operation runs among: this process's rank there, and how it speaks to the others. */
export class Circle {
  readonly rank: number;
  readonly size: number;
  readonly #scope: Scope;
  readonly #context: number;
  readonly #worldRanks: Int32Array;

  constructor(scope: Scope, context: number, group: Group) {
    this.#scope = scope;
    this.#context = context;
    this.#worldRanks = group.worldRanks;
    this.rank = group.rank;
    this.size = group.size;
  }

  send(memory: Memory, destination: number, tag: number): Request {
    const request = this.#request(memory, destination, tag);
    request.kind = SEND;
    this.#scope.engine.startSend(request);
    return request;
  }

  receive(memory: Memory, source: number, tag: number): Request {
    const request = this.#request(memory, source, tag);
    request.kind = RECEIVE;
    this.#scope.engine.startReceive(request);
    return request;
  }

  /** A receive that makes memory for what comes. */
  receiveAny(source: number, tag: number): Request {
    const request = this.#request(NO_MEMORY, source, tag);
    request.kind = RECEIVE;
    request.isOfAnySize = true;
    this.#scope.engine.startReceive(request);
    return request;
  }

  #request(memory: Memory, peer: number, tag: number): Request {
    const request = new Request(this.#scope);
    request.context = this.#context;
    request.peer = this.#worldRanks[peer];
    request.tag = tag;
    request.memory = memory;
    return request;
  }
}

/** The barrier, by dissemination: in round k each rank signals the one 2^k further on. */
export function* barrier(circle: Circle, tag: number): Steps<void> {
  const { rank, size } = circle;
  for (let round = 0, distance = 1; distance < size; round++, distance *= 2) {
    const receive = circle.receive(NO_MEMORY, (rank - distance + size) % size, tag + round);
    yield circle.send(NO_MEMORY, (rank + distance) % size, tag + round);
    yield receive;
  }
}

/** Rank 0's bytes on all ranks, by a binomial tree; the others pass nothing, and need not know the size. */
export function* broadcast(circle: Circle, tag: number, bytes?: Memory): Steps<Uint8Array> {
  const { rank, size } = circle;
  let memory = bytes ?? NO_MEMORY;
  let distance = 1;
  if (rank === 0) {
    while (distance < size) distance *= 2;
  } else {
    while ((rank & distance) === 0) distance *= 2;
    const receive = circle.receiveAny(rank - distance, tag);
    yield receive;
    memory = receive.memory;
  }
  const sends: Request[] = [];
  for (distance /= 2; distance >= 1; distance /= 2) {
    if (rank + distance < size) sends.push(circle.send(memory, rank + distance, tag));
  }
  yield* sends;
  return memory.bytes;
}

/** The words of all ranks, rank by rank; each has as many. Each round doubles what a rank knows (Bruck et al., 1997). */
export function* allgather(circle: Circle, tag: number, mine: Int32Array): Steps<Int32Array> {
  const { rank, size } = circle;
  const { length } = mine;
  // What rank + k said stands at k; turned round at the end.
  const known = new Int32Array(length * size);
  known.set(mine);
  for (let round = 0, count = 1; count < size; round++, count *= 2) {
    const more = Math.min(count, size - count);
    const memory = (first: number): Memory =>
      wordsAsMemory(known.subarray(first * length, (first + more) * length));
    const receive = circle.receive(memory(count), (rank + count) % size, tag + round);
    yield circle.send(memory(0), (rank - count + size) % size, tag + round);
    yield receive;
  }
  const inOrder = new Int32Array(length * size);
  for (let k = 0; k < size; k++) {
    inOrder.set(known.subarray(k * length, (k + 1) * length), ((rank + k) % size) * length);
  }
  return inOrder;
}

export function wordsAsMemory(words: Int32Array): Memory {
  return Memory.of(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
}

/** @throws MpiError `ERR_MPI_LAYOUT` when bytes of another rank are no such words. */
export function bytesAsWords(bytes: Uint8Array): Int32Array {
  if (bytes.length % 4 !== 0) {
    throw new MpiError('ERR_MPI_LAYOUT', `a rank sent ${bytes.length} bytes where words were due`);
  }
  return new Int32Array(bytes.slice().buffer);
}
