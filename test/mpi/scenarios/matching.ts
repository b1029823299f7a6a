/** Scenarios: which message meets which receive. */
import { ANY_SOURCE, ANY_TAG, Request, Status } from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, fill, range, type Scenario } from './scenario.js';

export const matching: Scenario[] = [
  {
    name: 'messages of one sender and tag arrive in order',
    ranks: 2,
    run: ({ world, rank, size }) => {
      const count = 2000;
      const word = new Int32Array(1);
      if (rank === 0) {
        for (const source of range(size).slice(1)) {
          for (let k = 0; k < count; k++) {
            world.recvSync(word, source, 5);
            checkEqual(word[0], k, `message of rank ${source}`);
          }
        }
      } else {
        for (let k = 0; k < count; k++) {
          word[0] = k;
          world.sendSync(word, 0, 5);
        }
      }
    },
  },
  {
    name: 'short and long messages of one tag arrive in the order in which they were sent',
    ranks: 2,
    run: ({ world, rank, random }) => {
      const sizes = range(120).map(() => random.pick([0, 8, 64, 5000, 16384, 20_000, 200_000]));
      if (rank === 0) {
        Request.waitAllSync(
          sizes.map((size, k) => world.isend(fill(new Uint8Array(size), k), 1, 9)),
        );
      }
      if (rank === 1) {
        for (const [k, size] of sizes.entries()) {
          const bytes = new Uint8Array(200_000);
          const { byteLength } = world.recvSync(bytes, 0, 9);
          checkEqual(byteLength, size, `size of message ${k}`);
          checkFilled(bytes.subarray(0, size), k, `message ${k}`);
        }
      }
    },
  },
  {
    name: 'tags select messages in any order',
    ranks: 2,
    eagerBytes: 8,
    run: ({ world, rank }) => {
      const word = new Int32Array(1);
      if (rank === 0) {
        for (let tag = 0; tag < 100; tag++) {
          word[0] = tag * 3;
          world.sendSync(word, 1, tag);
        }
      }
      if (rank === 1) {
        for (let tag = 99; tag >= 0; tag--) {
          world.recvSync(word, 0, tag);
          checkEqual(word[0], tag * 3, `tag ${tag}`);
        }
      }
    },
  },
  {
    name: 'a receive of any source and tag says whose message it got',
    ranks: 2,
    run: ({ world, rank, size }) => {
      const word = new Int32Array(1);
      if (rank !== 0) {
        word[0] = rank;
        world.sendSync(word, 0, rank + 10);
        return;
      }
      const seen = new Set<number>();
      for (let k = 1; k < size; k++) {
        const status = world.recvSync(new Int32Array(word.buffer), ANY_SOURCE, ANY_TAG);
        checkEqual(status.source, word[0], 'source');
        checkEqual(status.tag, status.source + 10, 'tag');
        checkEqual(status.byteLength, 4, 'size');
        seen.add(status.source);
      }
      checkEqual(seen.size, size - 1, 'senders');
    },
  },
  {
    name: 'a caller keeps its own status',
    ranks: 2,
    run: ({ world, rank }) => {
      if (rank === 0) world.sendSync(new Uint8Array(5), 1, 8);
      if (rank === 1) {
        const status = new Status();
        checkEqual(
          world.recvSync(new Uint8Array(9), 0, ANY_TAG, status),
          status,
          'the same object',
        );
        checkEqual(status.tag, 8, 'tag');
        checkEqual(status.byteLength, 5, 'size');
      }
    },
  },
  {
    name: 'receives meet messages in the order in which they were posted',
    ranks: 2,
    run: ({ world, rank }) => {
      if (rank === 0) {
        world.barrierSync();
        for (const k of range(6)) world.sendSync(new Uint8Array([k]), 1, 4);
      } else if (rank === 1) {
        const buffers = range(6).map(() => new Uint8Array(1));
        const wildcards = [
          [0, 4],
          [ANY_SOURCE, 4],
          [0, ANY_TAG],
          [ANY_SOURCE, ANY_TAG],
          [0, 4],
          [ANY_SOURCE, 4],
        ] as const;
        const requests = wildcards.map(([source, tag], k) => world.irecv(buffers[k], source, tag));
        world.barrierSync();
        Request.waitAllSync(requests);
        for (const k of range(6)) checkEqual(buffers[k][0], k, `receive ${k}`);
      } else {
        world.barrierSync();
      }
    },
  },
  {
    name: 'a barrier lets nobody through before all have come',
    ranks: 2,
    eagerBytes: 1,
    run: ({ world, rank, size }) => {
      for (let round = 0; round < 50; round++) {
        const late = round % size;
        // Messages of the late rank, sent before its barrier, are there after everybody's.
        if (rank === late) {
          for (const other of range(size)) world.sendSync(new Uint8Array([round]), other, 77);
        }
        world.barrierSync();
        const request = world.irecv(new Uint8Array(1), late, 77);
        check(request.test(), `message of round ${round}`);
      }
    },
  },
  {
    name: 'barriers can be awaited',
    ranks: 2,
    run: async ({ world }) => {
      for (let round = 0; round < 20; round++) await world.barrier();
    },
  },
  {
    name: 'a flood of messages without receives is kept and loses nothing',
    ranks: 2,
    eagerBytes: 12,
    run: ({ world, rank }) => {
      const count = 5000;
      if (rank === 0) {
        const requests = range(count).map((k) => world.isend(new Int32Array([k, k, k]), 1, k % 7));
        Request.waitAllSync(requests);
        world.barrierSync();
      } else {
        world.barrierSync();
        if (rank !== 1) return;
        const next = range(7);
        const words = new Int32Array(3);
        for (let k = 0; k < count; k++) {
          const tag = (k * 3) % 7;
          if (next[tag] >= count) continue;
          world.recvSync(words, 0, tag);
          checkEqual(words[2], next[tag], `tag ${tag}`);
          next[tag] += 7;
        }
        for (const tag of range(7)) {
          for (; next[tag] < count; next[tag] += 7) {
            world.recvSync(words, 0, tag);
            checkEqual(words[0], next[tag], `tag ${tag}`);
          }
        }
      }
    },
  },
  {
    name: 'all ranks flood one',
    ranks: 2,
    run: ({ world, rank, size }) => {
      const count = 300;
      if (rank !== 0) {
        Request.waitAllSync(
          range(count).map((k) => world.isend(fill(new Uint8Array((k * 37) % 3000), k), 0, rank)),
        );
        return;
      }
      const next = new Array<number>(size).fill(0);
      const bytes = new Uint8Array(3000);
      for (let k = 0; k < count * (size - 1); k++) {
        const { source, byteLength } = world.recvSync(bytes, ANY_SOURCE, ANY_TAG);
        const number = next[source]++;
        checkEqual(byteLength, (number * 37) % 3000, `size of message ${number} of rank ${source}`);
        checkFilled(bytes.subarray(0, byteLength), number, `message ${number} of rank ${source}`);
      }
    },
  },
  {
    name: 'random traffic among all ranks, blocking and awaited, arrives once and in order',
    ranks: 1,
    run: async ({ world, rank, size, random }) => {
      for (let round = 0; round < 6; round++) {
        const plan = range(150).map((mark) => ({
          mark,
          source: random.below(size),
          destination: random.below(size),
          tag: random.below(3),
          length: random.pick([0, 1, 40, 41, 500, 2048, 9999, 16384, 16385, 70_000, 300_000]),
          wildcard: random.below(4) === 0,
        }));
        const receives = plan
          .filter(({ destination }) => destination === rank)
          .map((message) => {
            const bytes = new Uint8Array(message.length);
            // Of one sender, so that the order says which message it is.
            const request = world.irecv(bytes, message.source, message.tag);
            return { message, bytes, request };
          });
        const sends = plan
          .filter(({ source }) => source === rank)
          .map(({ mark, destination, tag, length }) =>
            world.isend(fill(new Uint8Array(length), mark), destination, tag),
          );
        if (random.below(2) === 0) Request.waitAllSync(sends);
        else await Promise.all(sends.map((send) => send.promise()));
        for (const { message, bytes, request } of receives) {
          const status = message.wildcard ? await request : request.waitSync();
          checkEqual(status.source, message.source, 'source');
          checkEqual(status.tag, message.tag, 'tag');
          checkEqual(status.byteLength, message.length, 'size');
          checkFilled(bytes, message.mark, `message ${message.mark}`);
        }
      }
    },
  },
];
