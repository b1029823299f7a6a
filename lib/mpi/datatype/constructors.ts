/** What makes datatypes of others (MPI 4.1, section 5.1). */
import { noArgument } from '../errors.js';
import {
  checkCount,
  combined,
  Datatype,
  datatypeOf,
  type ElementType,
  repeated,
} from './datatype.js';

/**
 * `count` items one after the other (MPI_Type_contiguous).
 *
 * @throws MpiError `ERR_MPI_COUNT`, `ERR_MPI_TYPE`, as do all of these.
 */
export function contiguous(count: number, of: Datatype | ElementType): Datatype {
  checkCount(count, 'contiguous', 'count');
  const item = datatypeOf(of, 'contiguous');
  return repeated(item, count, item.extentBytes);
}

/**
 * `count` blocks of `blockLength` items, each block `stride` items after the one before (MPI_Type_vector), or
 * `strideBytes` bytes (MPI_Type_create_hvector).
 */
export function vector(options: {
  count: number;
  blockLength: number;
  stride?: number;
  strideBytes?: number;
  of: Datatype | ElementType;
}): Datatype {
  const { count, blockLength, stride, strideBytes } = options;
  checkCount(count, 'vector', 'count');
  checkCount(blockLength, 'vector', 'blockLength');
  const item = datatypeOf(options.of, 'vector');
  const distance = strideBytes ?? (stride ?? NaN) * item.extentBytes;
  if (!Number.isSafeInteger(distance)) {
    const given = strideBytes ?? stride;
    throw noArgument('ERR_MPI_ARG', 'vector', 'stride or strideBytes is a whole number', given);
  }
  return repeated(repeated(item, blockLength, item.extentBytes), count, distance);
}

/**
 * Blocks at displacements that are counted in items (MPI_Type_indexed); one length for all of them, or one for each
 * (MPI_Type_create_indexed_block).
 */
export function indexed(options: {
  blockLengths: number | readonly number[];
  displacements: readonly number[];
  of: Datatype | ElementType;
}): Datatype {
  const { blockLengths, displacements } = options;
  const item = datatypeOf(options.of, 'indexed');
  if (typeof blockLengths !== 'number' && blockLengths.length !== displacements.length) {
    throw noArgument(
      'ERR_MPI_COUNT',
      'indexed',
      `there is a block length for each of the ${displacements.length} displacements`,
      blockLengths.length,
    );
  }
  return combined(
    displacements.map((displacement, index) => {
      const length = typeof blockLengths === 'number' ? blockLengths : blockLengths[index];
      checkCount(length, 'indexed', 'a block length');
      checkWhole(displacement, 'indexed', 'a displacement');
      return {
        offsetBytes: displacement * item.extentBytes,
        of: repeated(item, length, item.extentBytes),
      };
    }),
  );
}

/**
 * Members of different types at offsets in bytes (MPI_Type_create_struct). No padding follows the last member: to have
 * several of them in a row, as a compiler lays them out, use `resized`.
 */
export function struct(
  members: readonly { offsetBytes: number; of: Datatype | ElementType; count?: number }[],
): Datatype {
  return combined(
    members.map(({ offsetBytes, of, count = 1 }) => {
      checkCount(count, 'struct', 'count');
      checkWhole(offsetBytes, 'struct', 'offsetBytes');
      const item = datatypeOf(of, 'struct');
      return { offsetBytes, of: repeated(item, count, item.extentBytes) };
    }),
  );
}

/**
 * A part of an array of several dimensions (MPI_Type_create_subarray); its extent is the whole array's.
 *
 * @param options.order `row-major`, the default, has the last dimension's items side by side, `column-major` the first's.
 */
export function subarray(options: {
  sizes: readonly number[];
  subsizes: readonly number[];
  starts: readonly number[];
  of: Datatype | ElementType;
  order?: 'row-major' | 'column-major';
}): Datatype {
  const { sizes, subsizes, starts, order = 'row-major' } = options;
  if (sizes.length === 0 || subsizes.length !== sizes.length || starts.length !== sizes.length) {
    throw noArgument(
      'ERR_MPI_DIMS',
      'subarray',
      'sizes, subsizes and starts have one number for each of one or more dimensions',
      `${sizes.length}, ${subsizes.length} and ${starts.length}`,
    );
  }
  let type = datatypeOf(options.of, 'subarray');
  let strideBytes = type.extentBytes;
  let offsetBytes = 0;
  const dimensions = [...sizes.keys()];
  if (order === 'row-major') dimensions.reverse();
  for (const dimension of dimensions) {
    const [size, subsize, start] = [sizes, subsizes, starts].map((list) => list[dimension]);
    checkCount(size, 'subarray', 'a size');
    checkCount(subsize, 'subarray', 'a subsize');
    checkCount(start, 'subarray', 'a start');
    if (start + subsize > size) {
      const what = `start and subsize of dimension ${dimension} are within its ${size}`;
      throw noArgument('ERR_MPI_ARG', 'subarray', what, `${start} and ${subsize}`);
    }
    type = repeated(type, subsize, strideBytes);
    offsetBytes += start * strideBytes;
    strideBytes *= size;
  }
  return resized(combined([{ offsetBytes, of: type }]), {
    lowerBoundBytes: 0,
    extentBytes: strideBytes,
  });
}

/** The same places, with other bounds: where the next item stands (MPI_Type_create_resized). */
export function resized(
  of: Datatype | ElementType,
  bounds: { lowerBoundBytes?: number; extentBytes: number },
): Datatype {
  const item = datatypeOf(of, 'resized');
  const { lowerBoundBytes = 0, extentBytes } = bounds;
  checkWhole(lowerBoundBytes, 'resized', 'lowerBoundBytes');
  checkWhole(extentBytes, 'resized', 'extentBytes');
  return new Datatype(
    item.layout,
    item.sizeBytes,
    { lowerBoundBytes, upperBoundBytes: lowerBoundBytes + extentBytes },
    item.trueBounds,
  );
}

function checkWhole(value: number, call: string, name: string): void {
  if (Number.isSafeInteger(value)) return;
  throw noArgument('ERR_MPI_ARG', call, `${name} is a whole number`, value);
}
