/** Scenarios: messages of all sizes and kinds of memory arrive as they were sent. */
import { Request } from '../../../lib/mpi/index.js';
import { check, checkEqual, checkFilled, fill, range, type Scenario } from './scenario.js';

const SIZES = [
  0, 1, 3, 4, 7, 8, 39, 40, 41, 48, 49, 63, 64, 100, 1023, 1024, 2047, 2048, 2112, 2113, 4096, 8191,
  16383, 16384, 16385, 32768, 65537, 262144, 1048576, 4194304,
];

export const transfer: Scenario[] = [
  {
    name: 'a message of each size arrives intact, blocking',
    ranks: 2,
    run: ({ world, rank }) => {
      for (const [mark, size] of SIZES.entries()) {
        const bytes = new Uint8Array(size);
        if (rank === 0) world.sendSync(fill(bytes, mark), 1, mark);
        if (rank === 1) {
          const status = world.recvSync(bytes, 0, mark);
          checkEqual(status.byteLength, size, 'size');
          checkFilled(bytes, mark, `message of ${size} bytes`);
        }
      }
    },
  },
  {
    name: 'a message of each size arrives intact, awaited',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const [mark, size] of SIZES.entries()) {
        const bytes = new Uint8Array(size);
        if (rank === 0) await world.send(fill(bytes, mark), 1, mark);
        if (rank === 1) {
          const { byteLength } = await world.recv(bytes, 0, mark);
          checkEqual(byteLength, size, 'size');
          checkFilled(bytes, mark, `message of ${size} bytes`);
        }
      }
    },
  },
  {
    name: 'messages of each size arrive intact when the receive comes later',
    ranks: 2,
    run: ({ world, rank }) => {
      if (rank === 0) {
        const sends = SIZES.map((size, k) => world.isend(fill(new Uint8Array(size), k), 1, k));
        world.barrierSync();
        Request.waitAllSync(sends);
      } else {
        world.barrierSync();
        if (rank !== 1) return;
        for (const mark of range(SIZES.length).reverse()) {
          const bytes = new Uint8Array(SIZES[mark]);
          world.recvSync(bytes, 0, mark);
          checkFilled(bytes, mark, `message of ${bytes.length} bytes`);
        }
      }
    },
  },
  {
    name: 'all ranks exchange large messages at once',
    ranks: 2,
    run: ({ world, rank, size }) => {
      const length = 700_001;
      const requests: Request[] = [];
      const received = range(size).map(() => new Uint8Array(length));
      for (const other of range(size)) {
        requests.push(world.irecv(received[other], other, 3));
        requests.push(world.isend(fill(new Uint8Array(length), rank * 64 + other), other, 3));
      }
      Request.waitAllSync(requests);
      for (const other of range(size)) {
        checkFilled(received[other], other * 64 + rank, `message from ${other}`);
      }
    },
  },
  {
    name: 'a shorter message leaves the rest of the buffer alone',
    ranks: 2,
    run: ({ world, rank }) => {
      for (const size of [3, 50, 3000, 100_000]) {
        const bytes = new Uint8Array(size + 64).fill(0xee);
        if (rank === 0) world.sendSync(new Uint8Array(size).fill(1), 1);
        if (rank === 1) {
          checkEqual(world.recvSync(bytes, 0).byteLength, size, 'size');
          check(
            bytes.subarray(0, size).every((byte) => byte === 1),
            'the message',
          );
          check(
            bytes.subarray(size).every((byte) => byte === 0xee),
            'what follows it',
          );
        }
      }
    },
  },
  {
    name: 'memory of any view and alignment can be sent and received into',
    ranks: 2,
    run: ({ world, rank }) => {
      for (const length of [8, 24, 40, 48, 200, 2048, 4096, 20_000]) {
        for (const offset of [0, 1, 2, 3, 4, 5, 60, 4095]) {
          const around = new Uint8Array(offset + length + 8).fill(0xaa);
          const view = around.subarray(offset, offset + length);
          if (rank === 0) world.sendSync(fill(view, length + offset), 1, 1);
          if (rank === 1) {
            world.recvSync(new DataView(around.buffer, offset, length), 0, 1);
            checkFilled(view, length + offset, `${length} bytes at offset ${offset}`);
            check(
              around.subarray(0, offset).every((byte) => byte === 0xaa),
              'what is before',
            );
            check(
              around.subarray(offset + length).every((byte) => byte === 0xaa),
              'what is after',
            );
          }
        }
      }
    },
  },
  {
    name: 'ArrayBuffers, SharedArrayBuffers, Buffers and arrays of all types can be sent',
    ranks: 2,
    run: ({ world, rank }) => {
      const shared = new SharedArrayBuffer(64);
      const buffers = [
        new ArrayBuffer(64),
        shared,
        Buffer.alloc(64),
        new Float64Array(8),
        new BigInt64Array(8),
        new Uint16Array(32),
        new Int8Array(shared),
      ];
      for (const [mark, buffer] of buffers.entries()) {
        const bytes = ArrayBuffer.isView(buffer)
          ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
          : new Uint8Array(buffer);
        if (rank === 0) {
          fill(bytes, mark);
          world.sendSync(buffer, 1, mark);
        }
        if (rank === 1) {
          world.recvSync(buffer, 0, mark);
          checkFilled(bytes, mark, buffer.constructor.name);
        }
      }
    },
  },
  {
    name: 'every bit of a number arrives, also of one that is not a number',
    ranks: 2,
    run: ({ world, rank }) => {
      const bits = new BigUint64Array([0x7ff0000000000001n, 0xfff8dead0000beefn, 1n, 1n << 63n]);
      const numbers = new Float64Array(bits.buffer);
      if (rank === 0) world.sendSync(numbers, 1);
      if (rank === 1) {
        const received = new Float64Array(4);
        world.recvSync(received, 0);
        const found = new BigUint64Array(received.buffer);
        check(
          found.every((word, k) => word === bits[k]),
          'bits',
        );
      }
    },
  },
  {
    name: 'copies between places of equal offset in their pages are right',
    ranks: 2,
    run: ({ world, rank, random }) => {
      const around = new Uint8Array(3 * 65536);
      for (let k = 0; k < 200; k++) {
        const offset = random.below(8192);
        const view = around.subarray(offset, offset + 2048 + random.below(40_000));
        if (rank === 0) world.sendSync(fill(view, k), 1);
        if (rank === 1) {
          world.recvSync(view, 0);
          checkFilled(view, k, `${view.length} bytes at offset ${offset}`);
        }
      }
    },
  },
  {
    name: 'a buffer may be used again as soon as its send is done',
    ranks: 2,
    run: ({ world, rank }) => {
      for (const length of [8, 1000, 50_000]) {
        const bytes = new Uint8Array(length);
        for (let k = 0; k < 300; k++) {
          if (rank === 0) world.sendSync(bytes.fill(k), 1);
          if (rank === 1) {
            world.recvSync(bytes, 0);
            check(
              bytes.every((byte) => byte === (k & 255)),
              `message ${k} of ${length} bytes`,
            );
          }
        }
      }
    },
  },
];
