/** Datatypes: pure, so held against lists of the bytes that they name. */
import t from 'tap';

import {
  contiguous,
  type Datatype,
  type ElementType,
  indexed,
  resized,
  Status,
  struct,
  subarray,
  vector,
} from '../../lib/mpi/index.js';
import { type SeededRandom, seededRandom } from '../seeded-random.js';
import { range } from './scenarios/scenario.js';

/** A datatype, and the offset of each byte that it names, in order. */
interface Model {
  readonly type: Datatype;
  readonly bytes: readonly number[];
}

const ELEMENTS: readonly ElementType[] = [Uint8Array, Int16Array, Float32Array, Float64Array];

function element(of: ElementType): Model {
  return { type: contiguous(1, of), bytes: range(of.BYTES_PER_ELEMENT) };
}

const at = (offset: number, { bytes }: Model): number[] => bytes.map((byte) => offset + byte);

function randomModel(random: SeededRandom, depth: number): Model {
  if (depth === 0) return element(random.pick(ELEMENTS));
  const of = randomModel(random, depth - 1);
  const extent = of.type.extentBytes;
  const count = random.below(4);
  const blockLength = random.below(3) + 1;
  const blocks = (offsets: readonly number[], lengths: (k: number) => number): number[] =>
    offsets.flatMap((offset, k) =>
      range(lengths(k)).flatMap((item) => at(offset + item * extent, of)),
    );
  switch (random.below(6)) {
    case 0:
      return {
        type: contiguous(count, of.type),
        bytes: blocks([0], () => count),
      };
    case 1: {
      const stride = blockLength + random.below(3);
      return {
        type: vector({ count, blockLength, stride, of: of.type }),
        bytes: blocks(
          range(count).map((k) => k * stride * extent),
          () => blockLength,
        ),
      };
    }
    case 2: {
      const strideBytes = blockLength * extent + random.below(9);
      return {
        type: vector({ count, blockLength, strideBytes, of: of.type }),
        bytes: blocks(
          range(count).map((k) => k * strideBytes),
          () => blockLength,
        ),
      };
    }
    case 3: {
      const displacements = range(count).map((k) => k * 4 + random.below(2));
      const blockLengths = displacements.map(() => random.below(4));
      return {
        type: indexed({ blockLengths, displacements, of: of.type }),
        bytes: blocks(
          displacements.map((displacement) => displacement * extent),
          (k) => blockLengths[k],
        ),
      };
    }
    case 4: {
      const other = element(random.pick(ELEMENTS));
      const gap = random.below(5);
      const offset = extent + gap;
      return {
        type: struct([
          { offsetBytes: 0, of: of.type },
          { offsetBytes: offset, of: other.type, count: 2 },
        ]),
        bytes: [...of.bytes, ...at(offset, other), ...at(offset + other.type.extentBytes, other)],
      };
    }
    default: {
      const extentBytes = Math.max(extent, 1) + random.below(8);
      return { type: resized(of.type, { extentBytes }), bytes: of.bytes };
    }
  }
}

t.test('random datatypes gather and scatter the bytes that they name', (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 3000; round++) {
    const { type, bytes } = randomModel(random, random.below(5));
    const count = random.below(3) + 1;
    const offsetBytes = random.below(9);
    const all = range(count).flatMap((k) =>
      bytes.map((byte) => offsetBytes + k * type.extentBytes + byte),
    );
    if (new Set(all).size !== all.length) continue; // overlapping items can't be scattered into
    const buffer = new Uint8Array(Math.max(...all, 0) + 1 + random.below(5)).map(
      (_, k) => k * 7 + 1,
    );
    const view = type.view(buffer, { offsetBytes, count });
    const expected = Uint8Array.from(all.map((byte) => buffer[byte]));
    if (type.sizeBytes !== bytes.length) throw new Error(`round ${round}: size`);
    if (Buffer.compare(view.pack(), expected) !== 0) throw new Error(`round ${round}: gathering`);
    const length = random.below(2) === 0 ? all.length : random.below(all.length + 1);
    const target = new Uint8Array(buffer.length);
    const wanted = new Uint8Array(buffer.length);
    all.slice(0, length).forEach((byte) => (wanted[byte] = buffer[byte]));
    type.view(target, { offsetBytes, count }).unpack(expected.subarray(0, length));
    if (Buffer.compare(target, wanted) !== 0) throw new Error(`round ${round}: scattering`);
  }
  t.end();
});

t.test('what is in one piece is not copied', (t) => {
  const buffer = new Float64Array(10);
  const row = contiguous(3, Float64Array);
  const piece = row.view(buffer, { offsetBytes: 16, count: 2 }).piece;
  t.equal(piece?.byteLength, 48);
  buffer[2] = 5;
  t.equal(new Float64Array(piece?.bytes.slice().buffer ?? new ArrayBuffer(8))[0], 5);
  t.equal(vector({ count: 2, blockLength: 1, stride: 2, of: row }).view(buffer).piece, undefined);
  t.ok(vector({ count: 2, blockLength: 2, stride: 2, of: Float64Array }).view(buffer).piece);
  t.end();
});

t.test('sizes, extents and bounds follow the standard', (t) => {
  const column = vector({ count: 3, blockLength: 1, stride: 4, of: Float64Array });
  t.equal(column.sizeBytes, 24);
  t.equal(column.extentBytes, 72);
  const face = subarray({ sizes: [4, 6], subsizes: [2, 3], starts: [1, 2], of: Int32Array });
  t.equal(face.extentBytes, 96);
  t.equal(face.sizeBytes, 24);
  const fortran = subarray({
    sizes: [6, 4],
    subsizes: [3, 2],
    starts: [2, 1],
    of: Int32Array,
    order: 'column-major',
  });
  const numbers = Int32Array.from(range(24));
  t.same(fortran.view(numbers).pack(), face.view(numbers).pack());
  t.same([...new Int32Array(face.view(numbers).pack().buffer)], [8, 9, 10, 14, 15, 16]);
  const backwards = vector({ count: 3, blockLength: 1, stride: -1, of: Int16Array });
  t.equal(backwards.lowerBoundBytes, -4);
  t.same(
    [...new Int16Array(backwards.view(Int16Array.of(1, 2, 3), { offsetBytes: 4 }).pack().buffer)],
    [3, 2, 1],
  );
  const wide = resized(Float64Array, { lowerBoundBytes: -8, extentBytes: 32 });
  t.equal(wide.lowerBoundBytes, -8);
  t.equal(contiguous(2, wide).extentBytes, 64);
  t.end();
});

t.test('messages of structs are counted in elements', (t) => {
  const record = struct([
    { offsetBytes: 0, of: Float64Array },
    { offsetBytes: 8, of: Uint8Array, count: 3 },
  ]);
  const status = new Status();
  const counts = [0, 8, 9, 11, 22, 7, 12].map((byteLength) => {
    status.byteLength = byteLength;
    return [status.getCount(record), status.getElements(record)];
  });
  t.same(counts, [
    [0, 0],
    [undefined, 1],
    [undefined, 2],
    [1, 4],
    [2, 8],
    [undefined, undefined],
    [undefined, undefined],
  ]);
  t.end();
});

t.test('what can be no datatype, or does not fit its buffer, is refused', (t) => {
  const code = (code: string, make: () => unknown): void => {
    t.throws(make, { code });
  };
  code('ERR_MPI_TYPE', () => contiguous(2, Array as unknown as ElementType));
  code('ERR_MPI_TYPE', () => contiguous(2, null as unknown as ElementType));
  code('ERR_MPI_COUNT', () => contiguous(-1, Float64Array));
  code('ERR_MPI_COUNT', () => contiguous(1.5, Float64Array));
  code('ERR_MPI_ARG', () => vector({ count: 1, blockLength: 1, of: Float64Array }));
  code('ERR_MPI_COUNT', () =>
    indexed({ blockLengths: [1], displacements: [1, 2], of: Float64Array }),
  );
  code('ERR_MPI_ARG', () => struct([{ offsetBytes: NaN, of: Int8Array }]));
  code('ERR_MPI_DIMS', () =>
    subarray({ sizes: [2], subsizes: [1, 1], starts: [0], of: Int8Array }),
  );
  code('ERR_MPI_ARG', () => subarray({ sizes: [2], subsizes: [2], starts: [1], of: Int8Array }));
  const four = contiguous(4, Int32Array);
  code('ERR_MPI_TYPE', () => four.view(new Int32Array(3)));
  code('ERR_MPI_TYPE', () => four.view(new Int32Array(4), { offsetBytes: 1 }));
  code('ERR_MPI_TYPE', () => four.view(new Int32Array(4), { offsetBytes: -4 }));
  code('ERR_MPI_COUNT', () => four.view(new Int32Array(4), { count: NaN }));
  code('ERR_MPI_BUFFER', () => four.view([1, 2] as unknown as Int32Array));
  code('ERR_MPI_TRUNCATE', () => {
    four.view(new Int32Array(4)).unpack(new Uint8Array(17));
  });
  const buffer = new Int32Array(4);
  const view = vector({ count: 2, blockLength: 1, stride: 2, of: Int32Array }).view(buffer);
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
  code('ERR_MPI_BUFFER', () => view.pack());
  t.end();
});
