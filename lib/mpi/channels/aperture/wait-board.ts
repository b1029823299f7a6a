/**
 * What each rank of an aperture waits for, where all ranks can read it: written by a rank before it sleeps, so that it
 * costs nothing while messages come.
 *
 * A record, as 32-bit words:
 *
 * | word | |
 * | --- | --- |
 * | 0 | state: 0 runs, 1 sleeps in a blocking call, 2 sleeps on its event loop |
 * | 1 | counts sleeps: two readings that are equal saw one and the same |
 * | 2 | operations that it waits for, of which the first 8 follow, 14 words each |
 *
 * An operation: kind, peer, tag, context, size (low, high), and the communicator's name: its length and 28 bytes.
 */
import type { PendingOperation, WaitBoard, WaitState } from '../../waits.js';
import type { Layout } from './layout.js';

const STATE = 0;
const SLEEPS = 1;
const COUNT = 2;
const FIRST_OPERATION = 4;
const OPERATION_WORDS = 14;
const NAME_LENGTH = 6;
const NAME = 7;
const NAME_BYTES = 28;
const MOST_OPERATIONS = 8;
const RUNS = 0;
const STATES: readonly WaitState['state'][] = ['running', 'blocked', 'awaiting'];
const KINDS: readonly PendingOperation['kind'][] = ['send', 'receive', 'probe', 'probe'];
const TWO_TO_32 = 2 ** 32;

export class ApertureWaitBoard implements WaitBoard {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #layout: Layout;
  readonly #own: number;

  constructor(words: Int32Array, bytes: Uint8Array, layout: Layout, rank: number) {
    this.#words = words;
    this.#bytes = bytes;
    this.#layout = layout;
    this.#own = layout.board(rank) / 4;
  }

  publish(isBlocked: boolean, operations: readonly PendingOperation[]): void {
    const words = this.#words;
    const record = this.#own;
    const count = Math.min(operations.length, MOST_OPERATIONS);
    for (let index = 0; index < count; index++) {
      this.#write(record + FIRST_OPERATION + index * OPERATION_WORDS, operations[index]);
    }
    words[record + COUNT] = operations.length;
    words[record + SLEEPS]++;
    Atomics.store(words, record + STATE, isBlocked ? 1 : 2);
  }

  retract(): void {
    this.#words[this.#own + STATE] = RUNS;
  }

  read(rank: number): WaitState {
    const words = this.#words;
    const record = this.#layout.board(rank) / 4;
    const state = Atomics.load(words, record + STATE);
    const sleeps = words[record + SLEEPS];
    const total = state === RUNS ? 0 : Math.max(words[record + COUNT], 0);
    const operations: PendingOperation[] = [];
    for (let index = 0; index < Math.min(total, MOST_OPERATIONS); index++) {
      operations.push(this.#read(record + FIRST_OPERATION + index * OPERATION_WORDS));
    }
    return {
      state: STATES[state] ?? 'running',
      sleeps,
      operations,
      more: total - operations.length,
    };
  }

  #write(at: number, operation: PendingOperation): void {
    const words = this.#words;
    const { byteLength } = operation;
    words[at] = KINDS.indexOf(operation.kind);
    words[at + 1] = operation.peer;
    words[at + 2] = operation.tag;
    words[at + 3] = operation.context;
    words[at + 4] = byteLength | 0;
    words[at + 5] = (byteLength / TWO_TO_32) | 0;
    const name = Buffer.from(operation.communicator, 'utf8').subarray(0, NAME_BYTES);
    words[at + NAME_LENGTH] = name.length;
    this.#bytes.set(name, (at + NAME) * 4);
  }

  #read(at: number): PendingOperation {
    const words = this.#words;
    const length = Math.min(Math.max(words[at + NAME_LENGTH], 0), NAME_BYTES);
    const name = this.#bytes.slice((at + NAME) * 4, (at + NAME) * 4 + length);
    return {
      kind: KINDS[words[at]] ?? 'receive',
      peer: words[at + 1],
      tag: words[at + 2],
      context: words[at + 3],
      byteLength: words[at + 5] * TWO_TO_32 + (words[at + 4] >>> 0),
      communicator: Buffer.from(name).toString('utf8'),
    };
  }
}
