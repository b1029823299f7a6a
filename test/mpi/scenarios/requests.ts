/** Scenarios: requests, waiting, withdrawing, and errors after which the job goes on. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, ANY_TAG, Request } from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, codeOf, fill, range, type Scenario } from './scenario.js';

export const requests: Scenario[] = [
  {
    name: 'windows of sends and receives complete together',
    ranks: 2,
    run: ({ world, rank }) => {
      for (const length of [8, 4096, 40_000]) {
        for (let round = 0; round < 10; round++) {
          const buffers = range(64).map((k) => fill(new Uint8Array(length), rank === 0 ? k : 999));
          if (rank === 0) Request.waitAllSync(buffers.map((bytes) => world.isend(bytes, 1, 2)));
          if (rank === 1) {
            Request.waitAllSync(buffers.map((bytes) => world.irecv(bytes, 0, 2)));
            for (const [k, bytes] of buffers.entries()) checkFilled(bytes, k, `message ${k}`);
          }
        }
      }
    },
  },
  {
    name: 'test says when a request is done',
    ranks: 2,
    run: ({ world, rank }) => {
      if (rank === 1) {
        const request = world.irecv(new Uint8Array(1), 0, 1);
        check(!request.test() && !request.done, 'not before the message');
        world.barrierSync();
        while (!request.test());
        check(request.done, 'done');
        checkEqual(request.status.source, 0, 'source');
      } else {
        world.barrierSync();
        if (rank === 0) world.sendSync(new Uint8Array(1), 1, 1);
      }
    },
  },
  {
    name: 'a rank that sleeps in a blocking receive is woken',
    ranks: 2,
    run: async ({ world, rank }) => {
      const bytes = new Uint8Array(100);
      for (let round = 0; round < 5; round++) {
        if (rank === 0) {
          await sleep(30);
          world.sendSync(fill(bytes, round), 1);
        }
        if (rank === 1) {
          world.recvSync(bytes, 0);
          checkFilled(bytes, round, 'message');
        }
      }
    },
  },
  {
    name: 'a rank that sleeps in an awaited receive is woken, and its timers run meanwhile',
    ranks: 2,
    run: async ({ world, rank }) => {
      const bytes = new Uint8Array(100_000);
      for (let round = 0; round < 5; round++) {
        if (rank === 0) {
          await world.recv(new Uint8Array(0), 1, 5);
          await sleep(30);
          await world.send(fill(bytes, round), 1);
        }
        if (rank === 1) {
          const receive = world.recv(bytes, 0);
          // Without timers there would be no message.
          setTimeout(() => void world.send(new Uint8Array(0), 0, 5), 1);
          await receive;
          checkFilled(bytes, round, 'message');
        }
      }
    },
  },
  {
    name: 'a sender that waits for room goes on when the receiver makes some',
    ranks: 2,
    run: async ({ world, rank }) => {
      const count = 3000;
      if (rank === 0) {
        await Promise.all(range(count).map((k) => world.send(new Int32Array(300).fill(k), 1)));
      }
      if (rank === 1) {
        await sleep(30);
        const words = new Int32Array(300);
        for (let k = 0; k < count; k++) {
          if (k % 500 === 0) await sleep(5);
          world.recvSync(words, 0);
          checkEqual(words[299], k, 'message');
        }
      }
    },
  },
  {
    name: 'many receives can be awaited at once, beside blocking calls',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 0) {
        for (const tag of range(20).reverse()) await world.send(new Int32Array([tag]), 1, tag);
        world.sendSync(new Uint8Array(1), 1, 50);
      }
      if (rank === 1) {
        const words = range(20).map(() => new Int32Array(1));
        const all = Promise.all(words.map((word, tag) => world.recv(word, 0, tag)));
        world.recvSync(new Uint8Array(1), 0, 50);
        const statuses = await all;
        for (const tag of range(20)) {
          checkEqual(words[tag][0], tag, 'message');
          checkEqual(statuses[tag].tag, tag, 'tag');
        }
      }
    },
  },
  {
    name: 'a message that is too long for its buffer is an error, and the job goes on',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const length of [30, 200, 10_000, 500_000]) {
        if (rank === 0) {
          world.sendSync(new Uint8Array(length), 1, 1);
          world.sendSync(fill(new Uint8Array(length), 1), 1, 2);
        }
        if (rank === 1) {
          const bytes = new Uint8Array(length);
          const short = new Uint8Array(length - 1).fill(9);
          checkEqual(await codeOf(() => world.recvSync(short, 0, 1)), 'ERR_MPI_TRUNCATE', 'code');
          check(
            short.every((byte) => byte === 9),
            'its buffer is untouched',
          );
          world.recvSync(bytes, 0, 2);
          checkFilled(bytes, 1, 'the next message');
        }
      }
    },
  },
  {
    name: 'a truncated receive can be awaited, and says what was sent',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 0) await world.send(new Uint8Array(100), 1, 6);
      if (rank === 1) {
        try {
          await world.recv(new Uint8Array(10), ANY_SOURCE, ANY_TAG);
          check(false, 'it rejects');
        } catch (error) {
          const { operands } = error as { operands: Record<string, unknown> };
          checkEqual(operands['byteLength'], 100, 'size');
          checkEqual(operands['capacity'], 10, 'capacity');
          checkEqual(operands['source'], 0, 'source');
          checkEqual(operands['tag'], 6, 'tag');
        }
      }
    },
  },
  {
    name: 'a withdrawn receive gets nothing, and its message goes to the next',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 1) {
        const first = world.irecv(new Uint8Array(4), 0, 1);
        check(first.cancel(), 'cancelled');
        check(!first.cancel(), 'only once');
        checkEqual(await codeOf(() => first.promise()), 'ERR_MPI_CANCELLED', 'code');
        const controller = new AbortController();
        const second = world.recv(new Uint8Array(4), 0, 1, { signal: controller.signal });
        controller.abort();
        checkEqual(await codeOf(() => second), 'ERR_MPI_ABORTED', 'code');
        const third = world.recv(new Uint8Array(4), 0, 1, { timeoutMs: 1 });
        checkEqual(await codeOf(() => third), 'ERR_MPI_TIMEOUT', 'code');
        const aborted = AbortSignal.abort();
        checkEqual(
          await codeOf(() => world.recv(new Uint8Array(4), 0, 1, { signal: aborted })),
          'ERR_MPI_ABORTED',
          'code',
        );
      }
      await world.barrier();
      if (rank === 0) world.sendSync(fill(new Uint8Array(4), 5), 1, 1);
      if (rank === 1) {
        const bytes = new Uint8Array(4);
        await world.recv(bytes, 0, 1, { timeoutMs: 60_000 });
        checkFilled(bytes, 5, 'the message');
      }
    },
  },
  {
    name: 'a receive that has met its message cannot be cancelled',
    ranks: 1,
    run: ({ world, rank }) => {
      world.sendSync(new Uint8Array(4), rank, 1);
      const request = world.irecv(new Uint8Array(4), rank, 1);
      check(!request.cancel(), 'too late');
      checkEqual(request.waitSync().byteLength, 4, 'size');
    },
  },
  {
    name: 'a rank sends to itself',
    ranks: 1,
    run: async ({ world, rank }) => {
      for (const length of [0, 8, 1000, 100_000]) {
        const bytes = new Uint8Array(length);
        const posted = world.irecv(bytes, rank, 1);
        world.sendSync(fill(new Uint8Array(length), 1), rank, 1);
        posted.waitSync();
        checkFilled(bytes, 1, 'posted before');
        const send = world.isend(fill(new Uint8Array(length), 2), rank, 1);
        checkEqual((await world.recv(bytes, rank, 1)).byteLength, length, 'size');
        await send;
        checkFilled(bytes, 2, 'posted after');
      }
    },
  },
  {
    name: 'a call that could only wait for its own rank is an error',
    ranks: 1,
    run: async ({ world, rank }) => {
      const large = new Uint8Array(1 << 20);
      checkEqual(
        await codeOf(() => {
          world.recvSync(large, rank, 1);
        }),
        'ERR_MPI_DEADLOCK',
        'code',
      );
      const request = world.isend(large, rank, 2);
      checkEqual(await codeOf(() => request.waitSync()), 'ERR_MPI_DEADLOCK', 'code');
    },
  },
  {
    name: 'wrong ranks, tags and buffers are refused before anything is sent',
    ranks: 1,
    run: async ({ world, size }) => {
      const bytes = new Uint8Array(1);
      for (const rank of [size, -1, -3, 0.5, NaN, '0' as unknown as number]) {
        checkEqual(
          await codeOf(() => {
            world.sendSync(bytes, rank);
          }),
          'ERR_MPI_RANK',
          `send to ${rank}`,
        );
        checkEqual(await codeOf(() => world.send(bytes, rank)), 'ERR_MPI_RANK', `send to ${rank}`);
        checkEqual(
          await codeOf(() => world.isend(bytes, rank)),
          'ERR_MPI_RANK',
          `isend to ${rank}`,
        );
        if (rank === ANY_SOURCE) continue;
        checkEqual(
          await codeOf(() => world.recvSync(bytes, rank)),
          'ERR_MPI_RANK',
          `recv of ${rank}`,
        );
        checkEqual(
          await codeOf(() => world.irecv(bytes, rank)),
          'ERR_MPI_RANK',
          `irecv of ${rank}`,
        );
      }
      for (const tag of [-1, -2, 2 ** 31, 0.5, NaN]) {
        checkEqual(
          await codeOf(() => {
            world.sendSync(bytes, 0, tag);
          }),
          'ERR_MPI_TAG',
          `tag ${tag}`,
        );
        if (tag === ANY_TAG) continue;
        checkEqual(await codeOf(() => world.recvSync(bytes, 0, tag)), 'ERR_MPI_TAG', `tag ${tag}`);
      }
      const detached = new Uint8Array(8);
      structuredClone(detached.buffer, { transfer: [detached.buffer] });
      for (const buffer of [null, undefined, 'text', 5, [1, 2], {}, detached]) {
        const given = buffer as Uint8Array;
        checkEqual(
          await codeOf(() => {
            world.sendSync(given, 0);
          }),
          'ERR_MPI_BUFFER',
          typeof buffer,
        );
        checkEqual(await codeOf(() => world.recv(given, 0)), 'ERR_MPI_BUFFER', typeof buffer);
      }
    },
  },
  {
    name: 'a buffer that is transferred away under a receive fails it, and the job goes on',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const length of [8, 5000, 300_000]) {
        if (rank === 1) {
          const bytes = new Uint8Array(length);
          const request = world.irecv(bytes, 0, 1);
          structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
          world.barrierSync();
          checkEqual(await codeOf(() => request.waitSync()), 'ERR_MPI_BUFFER', 'code');
        } else {
          world.barrierSync();
          if (rank === 0) world.sendSync(new Uint8Array(length), 1, 1);
        }
        world.barrierSync();
      }
    },
  },
];
