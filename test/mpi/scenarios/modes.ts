/** Scenarios: the modes of sends, persistent requests, exchanges in both directions, and no process at all. */
import { setTimeout as sleep } from 'node:timers/promises';

import {
  ANY_SOURCE,
  ANY_TAG,
  BSEND_OVERHEAD,
  type Communicator,
  PersistentRequest,
  PROC_NULL,
  Request,
} from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, codeOf, fill, range, type Scenario } from './scenario.js';

const SIZES = [0, 5, 40, 41, 3000, 16384, 16385, 200_000];

type Send = (world: Communicator, bytes: Uint8Array, to: number, tag: number) => unknown;

const waysToSend: Record<string, Send> = {
  sendSync: (world, bytes, to, tag) => world.sendSync(bytes, to, tag),
  send: (world, bytes, to, tag) => world.send(bytes, to, tag),
  isend: (world, bytes, to, tag) => world.isend(bytes, to, tag),
  ssendSync: (world, bytes, to, tag) => world.ssendSync(bytes, to, tag),
  ssend: (world, bytes, to, tag) => world.ssend(bytes, to, tag),
  issend: (world, bytes, to, tag) => world.issend(bytes, to, tag),
  bsendSync: (world, bytes, to, tag) => world.bsendSync(bytes, to, tag),
  bsend: (world, bytes, to, tag) => world.bsend(bytes, to, tag),
  ibsend: (world, bytes, to, tag) => world.ibsend(bytes, to, tag),
  rsendSync: (world, bytes, to, tag) => world.rsendSync(bytes, to, tag),
  rsend: (world, bytes, to, tag) => world.rsend(bytes, to, tag),
  irsend: (world, bytes, to, tag) => world.irsend(bytes, to, tag),
  sendInit: (world, bytes, to, tag) => world.sendInit(bytes, to, tag).start(),
  ssendInit: (world, bytes, to, tag) => world.ssendInit(bytes, to, tag).start(),
  bsendInit: (world, bytes, to, tag) => world.bsendInit(bytes, to, tag).start(),
  rsendInit: (world, bytes, to, tag) => world.rsendInit(bytes, to, tag).start(),
};

export const modes: Scenario[] = [
  {
    name: 'every way to send brings messages of all sizes, to a receive that was posted before',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 0) world.attachBuffer();
      for (const [way, send] of Object.entries(waysToSend)) {
        for (const [mark, size] of SIZES.entries()) {
          const bytes = new Uint8Array(size);
          if (rank === 1) {
            const request = world.irecv(bytes, 0, mark);
            world.sendSync(new Uint8Array(0), 0, 99);
            checkEqual((await request).byteLength, size, `${way}: size`);
            checkFilled(bytes, mark, `${way}: message of ${size} bytes`);
          }
          if (rank === 0) {
            world.recvSync(new Uint8Array(0), 1, 99);
            await send(world, fill(bytes, mark), 1, mark);
          }
        }
      }
      if (rank === 0) await world.detachBuffer();
    },
  },
  {
    name: 'every way to send brings messages of all sizes, to a receive that comes later',
    ranks: 2,
    run: async ({ world, rank }) => {
      if (rank === 0) world.attachBuffer();
      for (const [way, send] of Object.entries(waysToSend)) {
        // A ready send needs its receive first, and to block without one is not what is asked here.
        if (way.includes('rsend') || (way.endsWith('Sync') && !way.startsWith('b'))) continue;
        for (const [mark, size] of SIZES.entries()) {
          const bytes = new Uint8Array(size);
          if (rank === 0) {
            const sent = send(world, fill(bytes, mark), 1, mark);
            world.bsendSync(new Uint8Array(0), 1, 99);
            await sent;
          }
          if (rank === 1) {
            world.recvSync(new Uint8Array(0), 0, 99);
            world.recvSync(bytes, 0, mark);
            checkFilled(bytes, mark, `${way}: message of ${size} bytes`);
          }
        }
      }
      if (rank === 0) await world.detachBuffer();
    },
  },
  {
    name: 'a synchronous send is done only when a receive has met it',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const size of SIZES) {
        if (rank === 0) {
          const request = world.issend(fill(new Uint8Array(size), 1), 1, 3);
          for (let k = 0; k < 50; k++) check(!request.test(), `${size} bytes: not yet`);
          await sleep(2);
          check(!request.test(), `${size} bytes: still not`);
          world.sendSync(new Uint8Array(1), 1, 4);
          await request;
        }
        if (rank === 1) {
          world.recvSync(new Uint8Array(1), 0, 4);
          const bytes = new Uint8Array(size);
          world.recvSync(bytes, 0, 3);
          checkFilled(bytes, 1, `${size} bytes`);
        }
      }
    },
  },
  {
    name: 'a synchronous send to the rank itself waits for the receive',
    ranks: 1,
    run: async ({ world, rank }) => {
      for (const size of SIZES) {
        const request = world.issend(fill(new Uint8Array(size), 2), rank, 1);
        check(!request.test(), 'not yet');
        const bytes = new Uint8Array(size);
        world.recvSync(bytes, rank, 1);
        check(request.test(), 'now');
        checkFilled(bytes, 2, 'message');
        const posted = world.irecv(bytes, rank, 1);
        world.ssendSync(fill(new Uint8Array(size), 3), rank, 1);
        check(posted.test(), 'posted');
        checkFilled(bytes, 3, 'message');
      }
      checkEqual(
        await codeOf(() => {
          world.ssendSync(new Uint8Array(1), rank, 1);
        }),
        'ERR_MPI_DEADLOCK',
        'code',
      );
    },
  },
  {
    name: 'buffered sends do not wait, and their buffers may be changed at once',
    ranks: 2,
    run: ({ world, rank }) => {
      const sizes = [100_000, 7, 300_000, 40_001, 16_385];
      if (rank === 0) {
        const total = sizes.reduce((sum, size) => sum + size + BSEND_OVERHEAD, 0);
        const buffer = new Uint8Array(total);
        world.attachBuffer(buffer);
        const bytes = new Uint8Array(300_000);
        for (const [mark, size] of sizes.entries()) {
          world.bsendSync(fill(bytes.subarray(0, size), mark), 1, mark);
          bytes.fill(0);
        }
        world.barrierSync();
        check(world.detachBufferSync() === buffer, 'the buffer comes back');
        return;
      }
      world.barrierSync();
      if (rank !== 1) return;
      for (const [mark, size] of sizes.entries()) {
        const bytes = new Uint8Array(size);
        world.recvSync(bytes, 0, mark);
        checkFilled(bytes, mark, `message ${mark}`);
      }
    },
  },
  {
    name: 'a buffered send for which there is no room is an error, and room comes back',
    ranks: 2,
    longBytes: 50_000,
    run: async ({ world, rank }) => {
      const length = 50_000;
      if (rank === 0) {
        const bytes = new Uint8Array(length);
        checkEqual(await codeOf(() => world.ibsend(bytes, 1)), 'ERR_MPI_BUFFER', 'none attached');
        world.attachBuffer(new Uint8Array(length + BSEND_OVERHEAD));
        checkEqual(
          await codeOf(() => {
            world.attachBuffer();
          }),
          'ERR_MPI_BUFFER',
          'attached twice',
        );
        for (const round of range(3)) {
          world.bsendSync(fill(bytes, round), 1, 1);
          checkEqual(await codeOf(() => world.bsend(bytes, 1, 1)), 'ERR_MPI_BUFFER', 'no room');
          world.sendSync(new Uint8Array(0), 1, 2);
          world.recvSync(new Uint8Array(0), 1, 3);
        }
        await world.detachBuffer();
        checkEqual(await codeOf(() => world.ibsend(bytes, 1)), 'ERR_MPI_BUFFER', 'detached');
      }
      if (rank === 1) {
        const bytes = new Uint8Array(length);
        for (const round of range(3)) {
          world.recvSync(new Uint8Array(0), 0, 2);
          world.recvSync(bytes, 0, 1);
          checkFilled(bytes, round, 'message');
          world.sendSync(new Uint8Array(0), 0, 3);
        }
      }
    },
  },
  {
    name: 'persistent requests are started again and again',
    ranks: 2,
    run: async ({ world, rank, size }) => {
      for (const length of [8, 5000, 100_000]) {
        const bytes = new Uint8Array(length);
        const next = (rank + 1) % size;
        const previous = (rank + size - 1) % size;
        const received = new Uint8Array(length);
        const requests = [world.recvInit(received, previous, 4), world.sendInit(bytes, next, 4)];
        for (const round of range(5)) {
          fill(bytes, rank * 10 + round);
          PersistentRequest.startAll(requests);
          if (round % 2 === 0) await Request.waitAll(requests);
          else Request.waitAllSync(requests);
          checkEqual(requests[0].status.source, previous, 'source');
          checkFilled(received, previous * 10 + round, `round ${round}`);
        }
      }
    },
  },
  {
    name: 'an inactive persistent request does not hold anybody up, and cannot be started while active',
    ranks: 1,
    run: async ({ world, rank }) => {
      const receive = world.recvInit(new Uint8Array(4), rank, 1);
      checkEqual(receive.waitSync().source, ANY_SOURCE, 'the empty status');
      checkEqual((await receive).tag, ANY_TAG, 'the empty status');
      checkEqual(Request.waitAnySync([receive]), undefined, 'none is active');
      receive.start();
      checkEqual(await codeOf(() => receive.start()), 'ERR_MPI_REQUEST', 'started twice');
      check(receive.cancel(), 'cancelled');
      checkEqual(await codeOf(() => receive.waitSync()), 'ERR_MPI_CANCELLED', 'code');
      receive.start();
      world.sendSync(new Uint8Array(3), rank, 1);
      checkEqual(receive.waitSync().byteLength, 3, 'size');
    },
  },
  {
    name: 'messages to and from no process are nothing at once',
    ranks: 1,
    run: async ({ world }) => {
      const bytes = new Uint8Array([7]);
      world.sendSync(bytes, PROC_NULL, 1);
      world.ssendSync(bytes, PROC_NULL, 1);
      await world.send(bytes, PROC_NULL);
      await world.isend(bytes, PROC_NULL);
      await world.sendInit(bytes, PROC_NULL).start();
      await world.sendObject({ a: 1 }, PROC_NULL);
      for (const status of [
        world.recvSync(bytes, PROC_NULL, 5),
        await world.recv(bytes, PROC_NULL),
        await world.irecv(bytes, PROC_NULL),
        await world.recvInit(bytes, PROC_NULL).start(),
        (await world.receive(PROC_NULL)).status,
        (await world.recvObject(PROC_NULL)).status,
        world.probeSync(PROC_NULL),
        world.iprobe(PROC_NULL)!,
        world.mprobeSync(PROC_NULL).recvSync(bytes),
        world.sendrecvSync(bytes, PROC_NULL, 0, bytes, PROC_NULL, 0),
      ]) {
        checkEqual(status.source, PROC_NULL, 'source');
        checkEqual(status.tag, ANY_TAG, 'tag');
        checkEqual(status.byteLength, 0, 'size');
      }
      checkEqual(bytes[0], 7, 'the buffer is untouched');
    },
  },
  {
    name: 'all ranks send and receive at the same time, in place too',
    ranks: 1,
    run: async ({ world, rank, size }) => {
      const next = (rank + 1) % size;
      const previous = (rank + size - 1) % size;
      for (const length of [8, 5000, 100_000]) {
        const received = new Uint8Array(length);
        const status = world.sendrecvSync(
          fill(new Uint8Array(length), rank),
          next,
          3,
          received,
          previous,
          3,
        );
        checkEqual(status.source, previous, 'source');
        checkFilled(received, previous, 'received');
        world.sendrecvReplaceSync(received, next, 4, previous, 4);
        checkFilled(received, (previous + size - 1) % size, 'replaced');
        await world.sendrecvReplace(received, previous, 5, next, 5);
        checkFilled(received, previous, 'replaced back');
        const back = new Uint8Array(length);
        await world.sendrecv(received, previous, 6, back, ANY_SOURCE, 6);
        checkFilled(back, rank, 'sent back');
      }
      const small = new Uint8Array(2);
      checkEqual(
        await codeOf(() => world.sendrecvSync(small, size, 0, small, 0, 9)),
        'ERR_MPI_RANK',
        'code',
      );
      // The receive was withdrawn with it.
      if (rank === 0) world.sendSync(small, 0, 9);
      if (rank === 0) checkEqual(world.recvSync(small, 0, 9).byteLength, 2, 'size');
    },
  },
  {
    name: 'a send whose receiver has not met it can be taken back, small or large',
    ranks: 2,
    longBytes: 100_000,
    run: async ({ world, rank }) => {
      if (rank === 0) {
        for (const request of [
          world.issend(new Uint8Array(8), 1, 1),
          world.isend(new Uint8Array(100_000), 1, 1),
        ]) {
          check(request.cancel(), 'asked');
          checkEqual(await codeOf(() => request.waitSync()), 'ERR_MPI_CANCELLED', 'code');
        }
        const aborted = AbortSignal.timeout(1);
        checkEqual(
          await codeOf(() => world.ssend(new Uint8Array(8), 1, 1, { signal: aborted })),
          'ERR_MPI_ABORTED',
          'code',
        );
        checkEqual(
          await codeOf(() => world.send(new Uint8Array(100_000), 1, 1, { timeoutMs: 1 })),
          'ERR_MPI_TIMEOUT',
          'code',
        );
        const met = world.issend(new Uint8Array(8), 1, 2);
        await sleep(5);
        met.cancel();
        await met;
        world.sendSync(new Uint8Array([9]), 1, 1);
      }
      if (rank === 1) {
        const bytes = new Uint8Array(100);
        world.recvSync(bytes, 0, 2);
        checkEqual(world.recvSync(bytes, 0, 1).byteLength, 1, 'the others are gone');
        checkEqual(bytes[0], 9, 'message');
      }
    },
  },
];
