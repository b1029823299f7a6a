import t from 'tap';

import {
  checkPattern,
  checkedMessages,
  checkedWindow,
  fillPattern,
  seedOf,
} from '../../bench/ranks/payload.js';
import { measureSize } from '../../bench/ranks/sampling.js';
import type { Exchange } from '../../bench/ranks/sampling.js';

t.test('a payload is recognised by its seed, and by no other', async (t) => {
  const bytes = new Uint8Array(1000);
  fillPattern(bytes, 7);
  checkPattern(bytes, 7);
  t.throws(() => checkPattern(bytes, 8), { message: /^byte 0 of a message of 1000 bytes is \d+/ });
});

t.test('one wrong byte is found, and named', async (t) => {
  const bytes = new Uint8Array(4096);
  fillPattern(bytes, seedOf(4096, 3, 1));
  bytes[4095] = bytes[4095] ^ 1;
  t.throws(() => checkPattern(bytes, seedOf(4096, 3, 1)), { message: /^byte 4095 / });
});

t.test('a payload moved by a byte, a cache line or a page is found', async (t) => {
  const bytes = new Uint8Array(16_384);
  fillPattern(bytes, 1);
  for (const offset of [1, 64, 4096]) {
    t.throws(() => checkPattern(bytes.subarray(offset), 1), `by ${offset}`);
  }
});

t.test('messages of a series and slots of a window have seeds of their own', async (t) => {
  const seeds = new Set<number>();
  for (let iteration = 0; iteration < 100; iteration++) {
    for (let slot = 0; slot <= 64; slot++) seeds.add(seedOf(8, iteration, slot));
  }
  t.equal(seeds.size, 6500);
});

t.test('a checked exchange moves many small messages and at least 4 of any size', async (t) => {
  t.same([0, 8, 4096, 2 ** 20, 2 ** 24].map(checkedMessages), [1000, 1000, 256, 4, 4]);
  t.same([8, 4096, 65_536, 2 ** 24].map(checkedWindow), [64, 64, 16, 4]);
});

class Recorded implements Exchange {
  readonly mostIterations = { small: 100, large: 10 };
  readonly calls: string[] = [];
  runs = 0;
  check(): void {
    this.calls.push('check');
  }
  prepare(_: number, seed: number): void {
    this.calls.push(`prepare ${seed}`);
  }
  run(iterations: number): void {
    this.runs += iterations;
  }
  verify(seed: number): void {
    this.calls.push(`verify ${seed}`);
  }
  figure(iterations: number, elapsedMs: number): number {
    return elapsedMs / iterations;
  }
  barrier(): void {
    this.calls.push('barrier');
  }
  agree(count: number): number {
    return count;
  }
}

t.test('a size is checked, warmed up, then sampled, and each sample is verified', async (t) => {
  const exchange = new Recorded();
  const result = await measureSize(exchange, 8, 2, (sample) => sample * 10);
  t.same(exchange.calls, [
    'check',
    'prepare 0',
    ...['prepare 10', 'barrier', 'verify 10'],
    ...['prepare 20', 'barrier', 'verify 20'],
  ]);
  t.equal(result.iterations, 100);
  t.equal(result.samples.length, 2);
  t.ok(exchange.runs >= 300, 'warm-up and both samples');
});

t.test('large messages get fewer iterations', async (t) => {
  t.equal((await measureSize(new Recorded(), 8193, 1, () => 0)).iterations, 10);
});
