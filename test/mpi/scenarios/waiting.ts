/** Scenarios: waiting for and testing several requests; explanations and counters. */
import { setTimeout as sleep } from 'node:timers/promises';

import { ANY_SOURCE, ANY_TAG, type MessageProtocol, Request } from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, codeOf, fill, range, type Scenario } from './scenario.js';

export const waiting: Scenario[] = [
  {
    name: 'waiting for any takes each request once, in whatever order they end',
    ranks: 2,
    run: async ({ world, rank, random }) => {
      const count = 12;
      const order = range(count).sort(() => random.below(3) - 1);
      for (const isAwaited of [false, true]) {
        if (rank === 0) {
          for (const tag of order) await world.send(fill(new Uint8Array(tag * 3000), tag), 1, tag);
        }
        if (rank === 1) {
          const buffers = range(count).map((tag) => new Uint8Array(tag * 3000));
          const requests = buffers.map((bytes, tag) => world.irecv(bytes, 0, tag));
          const seen = new Set<number>();
          for (;;) {
            const completion = isAwaited
              ? await Request.waitAny([null, ...requests, undefined])
              : Request.waitAnySync([null, ...requests, undefined]);
            if (completion === undefined) break;
            const tag = completion.index - 1;
            checkEqual(completion.status.tag, tag, 'tag');
            check(!seen.has(tag), `request ${tag} once`);
            seen.add(tag);
            checkFilled(buffers[tag], tag, `message ${tag}`);
          }
          checkEqual(seen.size, count, 'all');
        }
        world.barrierSync();
      }
    },
  },
  {
    name: 'waiting for some takes all that are done',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const isAwaited of [false, true]) {
        if (rank === 0) {
          for (const tag of range(10)) world.sendSync(new Int32Array([tag]), 1, tag);
        }
        if (rank === 1) {
          const words = range(10).map(() => new Int32Array(1));
          const requests = words.map((word, tag) => world.irecv(word, 0, tag));
          let seen = 0;
          while (seen < 10) {
            const some = isAwaited
              ? await Request.waitSome(requests)
              : Request.waitSomeSync(requests);
            check(some.length > 0, 'at least one');
            for (const { index, status } of some) {
              checkEqual(status.tag, index, 'tag');
              checkEqual(words[index][0], index, 'message');
            }
            seen += some.length;
          }
          checkEqual((await Request.waitSome(requests)).length, 0, 'none is left');
        }
        world.barrierSync();
      }
    },
  },
  {
    name: 'testing several tells what is done, and does not wait',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 1) {
        const words = range(4).map(() => new Int32Array(1));
        const requests = words.map((word, tag) => world.irecv(word, 0, tag));
        checkEqual(Request.testAny(requests), undefined, 'none yet');
        checkEqual(Request.testSome(requests).length, 0, 'none yet');
        checkEqual(Request.testAll(requests), false, 'none yet');
        world.sendSync(new Uint8Array(0), 0, 50);
        let any;
        while (any === undefined) any = Request.testAny(requests);
        checkEqual(any.index, 0, 'the first');
        while (!Request.testAll(requests)) await sleep(0);
        for (const [tag, word] of words.entries()) checkEqual(word[0], tag, 'message');
        checkEqual(Request.testAny(requests), undefined, 'none is active');
        check(Request.testAll([...requests, null]), 'all are done');
      }
      if (rank === 0) {
        world.recvSync(new Uint8Array(0), 1, 50);
        for (const tag of range(4)) world.sendSync(new Int32Array([tag]), 1, tag);
      }
    },
  },
  {
    name: 'no requests, and empty places, are nothing to wait for',
    ranks: 1,
    run: async () => {
      Request.waitAllSync([]);
      await Request.waitAll([null, undefined]);
      checkEqual(Request.waitAnySync([]), undefined, 'any');
      checkEqual(await Request.waitAny([null]), undefined, 'any');
      checkEqual(Request.waitSomeSync([undefined]).length, 0, 'some');
      check(Request.testAll([]), 'all');
    },
  },
  {
    name: 'one of several that fails is an error, and each request keeps its own',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const size of [100, 5000, 100_000]) {
        if (rank === 0) {
          const sends = range(3).map((tag) => world.isend(fill(new Uint8Array(size), tag), 1, tag));
          await Request.waitAll(sends);
        }
        if (rank !== 1) continue;
        for (const isAwaited of [size === 5000]) {
          const buffers = [size, size - 1, size].map((length) => new Uint8Array(length));
          const requests = buffers.map((bytes, tag) => world.irecv(bytes, 0, tag));
          checkEqual(
            await codeOf(() => {
              if (isAwaited) return Request.waitAll(requests);
              Request.waitAllSync(requests);
              return undefined;
            }),
            'ERR_MPI_TRUNCATE',
            'code',
          );
          check(
            requests.every(({ done }) => done),
            'all have ended',
          );
          checkEqual(requests[1].status.byteLength, size, 'status');
          check(requests[1].error !== undefined && requests[0].error === undefined, 'errors');
          checkFilled(buffers[2], 2, 'after the one that failed');
        }
      }
    },
  },
  {
    name: 'receives are cancelled in any state, and others are met as if they had not been',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 1) {
        const envelopes = [
          [0, 1],
          [ANY_SOURCE, 1],
          [0, ANY_TAG],
          [ANY_SOURCE, ANY_TAG],
        ] as const;
        const words = range(8).map(() => new Int32Array(1));
        const requests = words.map((word, k) => world.irecv(word, ...envelopes[k % 4]));
        for (const k of [0, 3, 5, 6]) check(requests[k].cancel(), `request ${k}`);
        world.barrierSync();
        for (const [mark, k] of [1, 2, 4, 7].entries()) {
          requests[k].waitSync();
          checkEqual(words[k][0], mark, `request ${k}`);
          check(!requests[k].cancel(), 'too late');
        }
        checkEqual(await codeOf(() => requests[0].promise()), 'ERR_MPI_CANCELLED', 'code');
      } else {
        world.barrierSync();
        if (rank === 0) for (const mark of range(4)) world.sendSync(Int32Array.of(mark), 1, 1);
      }
    },
  },
  {
    name: 'statuses count items and elements',
    ranks: 1,
    run: ({ world, rank }) => {
      world.sendSync(new Uint8Array(24), rank, 1);
      const status = world.recvSync(new Uint8Array(30), rank, 1);
      checkEqual(status.getCount(Float64Array), 3, 'doubles');
      checkEqual(status.getCount(Uint8Array), 24, 'bytes');
      world.sendSync(new Uint8Array(10), rank, 1);
      const odd = world.recvSync(new Uint8Array(30), rank, 1);
      checkEqual(odd.getCount(Float64Array), undefined, 'no whole number');
      checkEqual(odd.getElements(Int16Array), 5, 'elements');
    },
  },
  {
    name: 'what a message would do is explained, and counted when it has done it',
    ranks: 2,
    run: async ({ world, rank }) => {
      const sizes = { inline: 8, eager: 4000, long: 200_000 };
      const before = world.counters(rank === 0 ? 1 : 0);
      world.barrierSync();
      if (rank > 1) return;
      const { VIADUCT_CHANNEL: channel = 'aperture', VIADUCT_EAGER_BYTES: limit = '16384' } =
        process.env;
      const explained = Object.values(sizes).map((size) => world.explain(size, 1 - rank));
      for (const [index, { channel: its, protocol, reason }] of explained.entries()) {
        const size = Object.values(sizes)[index];
        checkEqual(its, channel, 'channel');
        checkEqual(protocol === 'inline', size <= Math.min(40, Number(limit)), `inline, ${size}`);
        if (size <= 4000) {
          const isWhole = size <= Number(limit);
          checkEqual(protocol === 'inline' || protocol === 'eager', isWhole, `whole, ${size}`);
        }
        check(reason.length > 20, reason);
      }
      checkEqual(world.explain(1, rank).protocol, 'local', 'to itself');
      for (const size of Object.values(sizes)) {
        if (rank === 0) await world.send(new Uint8Array(size), 1, 1);
        else await world.recv(new Uint8Array(size), 0, 1);
      }
      const after = world.counters(1 - rank);
      const direction = rank === 0 ? 'sent' : 'received';
      const messagesOf = (protocol: MessageProtocol): number =>
        after[direction][protocol].messages - before[direction][protocol].messages;
      for (const { protocol } of explained) check(messagesOf(protocol) >= 1, protocol);
      checkEqual(await codeOf(() => world.explain(-1, 0)), 'ERR_MPI_COUNT', 'size');
      checkEqual(await codeOf(() => world.counters(99)), 'ERR_MPI_RANK', 'rank');
    },
  },
  {
    name: 'many messages and receives outstanding are met in order',
    ranks: 2,
    eagerBytes: 4,
    run: ({ world, rank, random }) => {
      const count = 4000;
      const tags = range(count).map(() => random.below(500));
      if (rank === 0) {
        world.barrierSync();
        const sends = tags.map((tag, k) => world.isend(Int32Array.of(k), 1, tag));
        Request.waitAllSync(sends);
        world.barrierSync();
        return;
      }
      if (rank !== 1) {
        world.barrierSync();
        world.barrierSync();
        return;
      }
      const words = tags.map(() => new Int32Array(1));
      // The first half is posted before, the rest is received when it has come.
      const posted = range(count / 2).map((k) => world.irecv(words[k], 0, tags[k]));
      world.barrierSync();
      world.barrierSync();
      for (let k = count - 1; k >= count / 2; k--) world.iprobe(ANY_SOURCE, tags[k]);
      for (let k = count / 2; k < count; k++) {
        const source = k % 3 === 0 ? ANY_SOURCE : 0;
        world.recvSync(words[k], source, tags[k]);
      }
      Request.waitAllSync(posted);
      for (const [k, word] of words.entries()) checkEqual(word[0], k, `message ${k}`);
    },
  },
];
