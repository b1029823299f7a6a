/** Scenarios: messages whose size is not known, probes, and objects. */
import { deepStrictEqual } from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, ANY_TAG, type Message, Status } from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, codeOf, fill, range, type Scenario } from './scenario.js';

const SIZES = [0, 5, 40, 41, 3000, 16384, 16385, 200_000];

export const probes: Scenario[] = [
  {
    name: 'a probe tells of a message and leaves it, whenever it comes',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const isLate of [true, false]) {
        for (const [mark, size] of SIZES.entries()) {
          if (rank === 0) {
            if (isLate && mark < 3) await sleep(3);
            await world.send(fill(new Uint8Array(size), mark), 1, mark);
          }
          if (rank === 1) {
            const status =
              mark % 2 === 0
                ? world.probeSync(ANY_SOURCE, ANY_TAG, new Status())
                : await world.probe(0, mark);
            checkEqual(status.source, 0, 'source');
            checkEqual(status.tag, mark, 'tag');
            checkEqual(status.byteLength, size, 'size');
            checkEqual(world.iprobe(ANY_SOURCE, mark)?.byteLength, size, 'size again');
            checkEqual(world.iprobe(0, 1000), undefined, 'another tag');
            const bytes = new Uint8Array(status.byteLength);
            world.recvSync(bytes, status.source, status.tag);
            checkFilled(bytes, mark, `message of ${size} bytes`);
            checkEqual(world.iprobe(0, mark), undefined, 'it is gone');
          }
        }
        world.barrierSync();
      }
    },
  },
  {
    name: 'probes of a rank’s own messages',
    ranks: 1,
    run: async ({ world, rank }) => {
      checkEqual(world.iprobe(rank, 1), undefined, 'none');
      checkEqual(world.improbe(rank, 1), undefined, 'none');
      for (const size of [0, 8, 100_000]) {
        const awaited = world.probe(rank, 1);
        const send = world.issend(fill(new Uint8Array(size), 1), rank, 1);
        checkEqual((await awaited).byteLength, size, 'size');
        const message = world.mprobeSync(rank, 1);
        check(!send.test(), 'a probe is no receive');
        const bytes = new Uint8Array(size);
        message.recvSync(bytes);
        checkFilled(bytes, 1, 'message');
        await send;
      }
    },
  },
  {
    name: 'a matched probe takes its message away from all others',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const size of SIZES) {
        if (rank === 0) {
          const sends = range(4).map((mark) => world.isend(fill(new Uint8Array(size), mark), 1, 5));
          for (const send of sends) await send;
        }
        if (rank !== 1) continue;
        const first = await world.mprobe(ANY_SOURCE, 5);
        const second = world.mprobeSync(0, ANY_TAG);
        let third: Message | undefined;
        while (third === undefined) third = world.improbe(0, 5);
        const last = new Uint8Array(size);
        world.recvSync(last, 0, 5);
        checkFilled(last, 3, 'the one that was left');
        const bytes = new Uint8Array(size);
        checkEqual((await third.recv(bytes)).byteLength, size, 'size');
        checkFilled(bytes, 2, 'third');
        const { data, status } = await second.receive();
        checkEqual(status.tag, 5, 'tag');
        checkFilled(data, 1, 'second');
        first.irecv(bytes).waitSync();
        checkFilled(bytes, 0, 'first');
        checkEqual(await codeOf(() => first.recvSync(bytes)), 'ERR_MPI_REQUEST', 'received twice');
      }
    },
  },
  {
    name: 'a matched message that is too long for its buffer is an error that names it',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const size of [100, 5000, 100_000]) {
        if (rank === 0) await world.send(new Uint8Array(size), 1, 6);
        if (rank === 1) {
          const message = world.mprobeSync(0, 6);
          const request = message.irecv(new Uint8Array(size - 1));
          checkEqual(await codeOf(() => request.waitSync()), 'ERR_MPI_TRUNCATE', 'code');
          check(/99 bytes|4999|99999/.test(request.error?.message ?? ''), 'capacity');
        }
      }
    },
  },
  {
    name: 'probes are withdrawn by signals and time limits',
    ranks: 1,
    run: async ({ world, rank }) => {
      const signal = AbortSignal.timeout(1);
      checkEqual(await codeOf(() => world.probe(rank, 1, { signal })), 'ERR_MPI_ABORTED', 'code');
      checkEqual(
        await codeOf(() => world.mprobe(rank, 1, { timeoutMs: 1 })),
        'ERR_MPI_TIMEOUT',
        'code',
      );
      world.sendSync(new Uint8Array(2), rank, 1);
      checkEqual(world.recvSync(new Uint8Array(2), rank, 1).byteLength, 2, 'size');
    },
  },
  {
    name: 'a receive without a buffer gets a message of any size, early or late',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const isEarly of [true, false]) {
        for (const [mark, size] of SIZES.entries()) {
          if (rank === 0) {
            if (isEarly) world.recvSync(new Uint8Array(0), 1, 99);
            await world.send(fill(new Uint8Array(size), mark), 1, mark);
          }
          if (rank !== 1) continue;
          const received = mark % 2 === 0 ? world.receive(0, mark) : undefined;
          if (isEarly) world.sendSync(new Uint8Array(0), 0, 99);
          const { data, status } = (await received) ?? world.receiveSync();
          checkEqual(status.source, 0, 'source');
          checkEqual(status.tag, mark, 'tag');
          checkEqual(data.byteLength, size, 'size');
          checkFilled(data, mark, `message of ${size} bytes`);
        }
        world.barrierSync();
      }
    },
  },
  {
    name: 'a receive without a buffer is withdrawn by a signal, and its message goes to the next',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 1) {
        const signal = AbortSignal.timeout(1);
        checkEqual(
          await codeOf(() => world.receive(ANY_SOURCE, 1, { signal })),
          'ERR_MPI_ABORTED',
          'code',
        );
      }
      await world.barrier();
      if (rank === 0) await world.send(fill(new Uint8Array(300), 1), 1, 1);
      if (rank === 1) checkFilled((await world.receive()).data, 1, 'message');
    },
  },
  {
    name: 'objects arrive as clones, with large buffers in them',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const next = (rank + 1) % size;
      const previous = (rank + size - 1) % size;
      const shared = { name: 'shared' };
      const values = (from: number): unknown[] => [
        undefined,
        null,
        `text of ${from} ✓`,
        {
          step: from,
          list: [1n, -0, new Date(from), /x/g],
          nested: new Map([[{ a: 1 }, new Set([1])]]),
        },
        { first: shared, second: shared },
        fill(new Uint8Array(100), from),
        fill(new Uint8Array(100_000), from),
        {
          mesh: new Float64Array(fill(new Uint8Array(80_000), from).buffer),
          bytes: Buffer.from(fill(new Uint8Array(50_000), from)),
          view: new DataView(fill(new Uint8Array(20_000), from).buffer),
          small: Int16Array.of(from, 2, 3),
          buffer: fill(new Uint8Array(30_000), from).buffer,
        },
      ];
      const sends = values(rank).map((value, tag) => world.sendObject(value, next, tag));
      for (const [tag, expected] of values(previous).entries()) {
        const { value, status } =
          tag % 2 === 0 || previous === rank
            ? await world.recvObject(previous, tag)
            : world.recvObjectSync(ANY_SOURCE, tag);
        checkEqual(status.source, previous, 'source');
        checkSame(value, expected, `object ${tag}`);
      }
      await Promise.all(sends);
      checkEqual(await codeOf(() => world.sendObject(() => 1, next)), 'ERR_MPI_TYPE', 'a function');
      world.sendSync(new Uint8Array(30), rank, 200);
      checkEqual(await codeOf(() => world.recvObject(rank, 200)), 'ERR_MPI_TYPE', 'no object');
    },
  },
];

function checkSame(found: unknown, wanted: unknown, what: string): void {
  try {
    deepStrictEqual(found, wanted);
  } catch {
    throw new Error(`${what} is another than was sent`);
  }
}
