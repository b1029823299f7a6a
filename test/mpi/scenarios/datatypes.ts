/** Scenarios: messages of parts of buffers. */
import {
  contiguous,
  indexed,
  type MessageBuffer,
  Request,
  struct,
  subarray,
  vector,
} from '../../../lib/mpi/index.js';
import { check, checkEqual, codeOf, range, type Scenario } from './scenario.js';

export const datatypes: Scenario[] = [
  {
    name: 'a column is sent and received as a row, short and long, early and late',
    ranks: 2,
    run: async ({ world, rank }) => {
      for (const rows of [3, 900, 20_000]) {
        const columns = 3;
        const column = vector({ count: rows, blockLength: 1, stride: columns, of: Float64Array });
        const matrix = Float64Array.from(range(rows * columns));
        const place = { offsetBytes: 8 };
        for (const isEarly of [false, true]) {
          if (rank === 0) {
            if (isEarly) world.recvSync(new Uint8Array(0), 1, 9);
            await world.send(column.view(matrix, place), 1, 1);
            await world.send(
              matrix.filter((_, k) => k % columns === 2),
              1,
              2,
            );
          }
          if (rank !== 1) continue;
          const row = new Float64Array(rows);
          const target = new Float64Array(rows * columns).fill(-1);
          const requests = [row, column.view(target, { offsetBytes: 16 })].map((buffer, k) =>
            isEarly ? world.irecv(buffer as MessageBuffer, 0, k + 1) : undefined,
          );
          if (isEarly) {
            world.sendSync(new Uint8Array(0), 0, 9);
            await Request.waitAll(requests);
          } else {
            world.recvSync(row, 0, 1);
            const status = await world.recv(column.view(target, { offsetBytes: 16 }), 0, 2);
            checkEqual(status.getCount(column), 1, 'count');
            checkEqual(status.getElements(column), rows, 'elements');
          }
          check(
            row.every((value, k) => value === k * columns + 1),
            `column of ${rows}`,
          );
          check(
            target.every((value, k) => value === (k % columns === 2 ? k : -1)),
            `into a column of ${rows}`,
          );
        }
      }
    },
  },
  {
    name: 'a message that is shorter than the places fills the first of them',
    ranks: 1,
    run: async ({ world, rank }) => {
      const type = indexed({ blockLengths: [2, 1, 3], displacements: [4, 0, 8], of: Int16Array });
      const words = new Int16Array(12).fill(-1);
      world.sendSync(Int16Array.of(1, 2, 3, 4), rank, 1);
      const status = await world.recv(type.view(words), rank, 1);
      checkEqual(words.join(), '3,-1,-1,-1,1,2,-1,-1,4,-1,-1,-1', 'places');
      checkEqual(status.getCount(type), undefined, 'no whole item');
      checkEqual(status.getElements(type), 4, 'elements');
      world.sendSync(new Int16Array(7), rank, 1);
      checkEqual(
        await codeOf(() => world.recvSync(type.view(words), rank, 1)),
        'ERR_MPI_TRUNCATE',
        'too long',
      );
      checkEqual(words[4], 1, 'and nothing is changed');
    },
  },
  {
    name: 'structs, subarrays and pieces in one are sent and received in each way',
    ranks: 2,
    run: async ({ world, rank }) => {
      const record = struct([
        { offsetBytes: 0, of: Float64Array },
        { offsetBytes: 12, of: Uint8Array, count: 3 },
      ]);
      const face = subarray({
        sizes: [4, 5, 6],
        subsizes: [4, 1, 6],
        starts: [0, 2, 0],
        of: Int32Array,
      });
      const piece = contiguous(10, Int32Array);
      const buffer = (mark: number): Uint8Array => new Uint8Array(600).fill(mark);
      for (const [tag, type] of [record, face, piece].entries()) {
        const bytes = buffer(rank === 0 ? 7 : 0);
        const view = type.view(bytes, { offsetBytes: 4 });
        if (rank === 0) {
          world.sendSync(view, 1, tag);
          await world.ssend(view, 1, tag);
          await world.sendInit(view, 1, tag).start();
          world.sendrecvReplaceSync(view, 1, tag, 1, tag);
        }
        if (rank === 1) {
          const expected = buffer(0);
          type.view(expected, { offsetBytes: 4 }).unpack(buffer(7).subarray(0, type.sizeBytes));
          const isRight = (what: string): void => {
            check(Buffer.compare(bytes, expected) === 0, what);
            bytes.fill(0);
          };
          world.recvSync(view, 0, tag);
          isRight('recvSync');
          await world.recvInit(view, 0, tag).start();
          isRight('recvInit');
          world.mprobeSync(0, tag).recvSync(view);
          isRight('message.recvSync');
          await world.sendrecvReplace(view, 0, tag, 0, tag);
          isRight('sendrecvReplace');
        }
        if (rank === 0) checkEqual(type.view(bytes, { offsetBytes: 4 }).pack()[0], 0, 'replaced');
      }
    },
  },
];
