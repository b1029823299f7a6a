/** Ranks on a grid (MPI 4.1, section 8.5). */
import { Communicator } from './communicator.js';
import { PROC_NULL } from './constants.js';
import { noArgument, noSuchRank } from './errors.js';
import { type Scope } from './scope.js';

/** The shape of a grid. */
export interface CartOptions {
  /** How many ranks along each dimension; the last varies fastest with the rank. */
  readonly dims: readonly number[];
  /** Whether the last rank along a dimension has the first as its neighbour; one for all, or one for each. Default: false. */
  readonly periods?: boolean | readonly boolean[];
}

/** Neighbours along a dimension, `PROC_NULL` beyond an edge. */
export interface Shift {
  /** The rank that this one receives from in a shift. */
  readonly source: number;
  /** The rank that it sends to. */
  readonly destination: number;
}

/**
 * A communicator whose ranks stand on a grid; made by `cartCreate`.
 *
 * ```ts
 * // viaduct run -n 4 -- node app.js
 * import { cartCreate, init } from 'viaduct/mpi';
 *
 * await using job = await init();
 * const grid = await cartCreate(job.world, { dims: [2, 2], periods: [false, true] });
 * if (grid?.rank === 1) {
 *   console.log(grid.coords().join(' '), grid.shift(0, 1), grid.shift(1, 1));
 *   // prints [1] 0 1 { source: -2, destination: 3 } { source: 0, destination: 0 }
 * }
 * const row = await grid?.sub([false, true]);
 * row?.free();
 * ```
 */
export class CartesianCommunicator extends Communicator {
  /** How many ranks along each dimension (MPI_Cart_get). */
  readonly dims: readonly number[];
  /** Whether a dimension's ends are neighbours. */
  readonly periods: readonly boolean[];

  /** @internal */
  constructor(scope: Scope, dims: readonly number[], periods: readonly boolean[]) {
    super(scope);
    this.dims = dims;
    this.periods = periods;
  }

  /**
   * Where a rank stands, by default this one (MPI_Cart_coords).
   *
   * @throws MpiError `ERR_MPI_RANK`.
   */
  coords(rank: number = this.rank): number[] {
    if (!(Number.isInteger(rank) && rank >= 0 && rank < this.size)) {
      throw noSuchRank(rank, this.size, 'coords');
    }
    const coords = new Array<number>(this.dims.length);
    let rest = rank;
    for (let dimension = this.dims.length - 1; dimension >= 0; dimension--) {
      coords[dimension] = rest % this.dims[dimension];
      rest = Math.floor(rest / this.dims[dimension]);
    }
    return coords;
  }

  /**
   * The rank that stands at a place; places beyond the end of a periodic dimension come round (MPI_Cart_rank).
   *
   * @throws MpiError `ERR_MPI_DIMS` for another number of coordinates, `ERR_MPI_ARG` for a place beyond an edge.
   */
  rankAt(coords: readonly number[]): number {
    if (coords.length !== this.dims.length) {
      const what = `a place has ${this.dims.length} coordinates`;
      throw noArgument('ERR_MPI_DIMS', 'rankAt', what, coords.length);
    }
    const rank = this.#rankAt(coords);
    if (rank !== PROC_NULL) return rank;
    const what = `places are within ${this.dims.join(' × ')} along dimensions that are not periodic`;
    throw noArgument('ERR_MPI_ARG', 'rankAt', what, coords.join(', '));
  }

  /**
   * The neighbours that are a distance away along a dimension (MPI_Cart_shift).
   *
   * @throws MpiError `ERR_MPI_DIMS`, `ERR_MPI_ARG`.
   */
  shift(dimension: number, displacement: number): Shift {
    if (!(dimension in this.dims)) {
      const what = `dimensions are 0 to ${this.dims.length - 1}`;
      throw noArgument('ERR_MPI_DIMS', 'shift', what, dimension);
    }
    if (!Number.isSafeInteger(displacement)) {
      throw noArgument('ERR_MPI_ARG', 'shift', 'a displacement is a whole number', displacement);
    }
    const neighbour = (distance: number): number =>
      this.#rankAt(this.coords().map((place, at) => (at === dimension ? place + distance : place)));
    return { source: neighbour(-displacement), destination: neighbour(displacement) };
  }

  /**
   * The part of the grid along some dimensions that this rank is in, as a grid (MPI_Cart_sub). All ranks call it.
   *
   * @param remain whether each dimension stays.
   * @throws MpiError `ERR_MPI_DIMS` for another number of dimensions.
   */
  async sub(remain: readonly boolean[]): Promise<CartesianCommunicator> {
    return this.#kept(await this.split(this.#colorOf(remain)), remain);
  }

  /** As `sub`, blocking. */
  subSync(remain: readonly boolean[]): CartesianCommunicator {
    return this.#kept(this.splitSync(this.#colorOf(remain)), remain);
  }

  #colorOf(remain: readonly boolean[]): { color: number } {
    if (remain.length !== this.dims.length) {
      const what = `it says of ${this.dims.length} dimensions whether they stay`;
      throw noArgument('ERR_MPI_DIMS', 'sub', what, remain.length);
    }
    // Ranks that differ in nothing but what stays are together: their rank with that set to 0 is their color.
    return { color: this.#rankAt(this.coords().map((place, at) => (remain[at] ? 0 : place))) };
  }

  #kept(part: Communicator, remain: readonly boolean[]): CartesianCommunicator {
    const isKept = (_: unknown, at: number): boolean => remain[at];
    const dims = this.dims.filter(isKept);
    return new CartesianCommunicator(part.scopeFor('sub'), dims, this.periods.filter(isKept));
  }

  #rankAt(coords: readonly number[]): number {
    let rank = 0;
    for (const [dimension, count] of this.dims.entries()) {
      let place = coords[dimension];
      if (this.periods[dimension]) place = ((place % count) + count) % count;
      if (!(Number.isInteger(place) && place >= 0 && place < count)) return PROC_NULL;
      rank = rank * count + place;
    }
    return rank;
  }
}

/**
 * Puts the first ranks of a communicator on a grid (MPI_Cart_create, which does not reorder here); undefined on ranks
 * that it has no place for. All ranks call it.
 *
 * @throws MpiError `ERR_MPI_DIMS` for dimensions that are no positive whole numbers, or more places than ranks.
 */
export async function cartCreate(
  communicator: Communicator,
  options: CartOptions,
): Promise<CartesianCommunicator | undefined> {
  const color = placeFor(communicator, options, 'cartCreate');
  return onGrid(await communicator.split({ color }), options);
}

/** As `cartCreate`, blocking. */
export function cartCreateSync(
  communicator: Communicator,
  options: CartOptions,
): CartesianCommunicator | undefined {
  const color = placeFor(communicator, options, 'cartCreateSync');
  return onGrid(communicator.splitSync({ color }), options);
}

function placeFor(communicator: Communicator, options: CartOptions, call: string) {
  const { dims, periods } = options;
  const places = dims.reduce((product, count) => product * count, 1);
  if (!dims.every((count) => Number.isSafeInteger(count) && count > 0)) {
    throw noArgument('ERR_MPI_DIMS', call, 'dims are whole numbers from 1 on', dims.join(', '));
  }
  if (typeof periods === 'object' && periods.length !== dims.length) {
    const what = `periods are one, or one for each of ${dims.length} dimensions`;
    throw noArgument('ERR_MPI_DIMS', call, what, periods.length);
  }
  if (places > communicator.size) {
    const what = `a grid has at most as many places as ${communicator.name} has ranks, ${communicator.size}`;
    throw noArgument('ERR_MPI_DIMS', call, what, `${dims.join(' × ')} = ${places}`);
  }
  return communicator.rank < places ? 0 : undefined;
}

function onGrid(
  communicator: Communicator | undefined,
  { dims, periods = false }: CartOptions,
): CartesianCommunicator | undefined {
  if (communicator === undefined) return undefined;
  const each = typeof periods === 'boolean' ? dims.map(() => periods) : [...periods];
  return new CartesianCommunicator(communicator.scopeFor('cartCreate'), [...dims], each);
}

/**
 * Divides ranks among dimensions as evenly as can be, in decreasing order (MPI_Dims_create).
 *
 * @param dims how many dimensions, or a number for each, 0 where it is to be chosen.
 * @throws MpiError `ERR_MPI_DIMS` when the ranks can't be divided so.
 */
export function dimsCreate(ranks: number, dims: number | readonly number[]): number[] {
  const wanted = typeof dims === 'number' ? new Array<number>(dims).fill(0) : [...dims];
  const fixed = wanted.reduce((product, count) => (count === 0 ? product : product * count), 1);
  const open = wanted.filter((count) => count === 0).length;
  const rest = ranks / fixed;
  if (!(Number.isSafeInteger(rest) && rest > 0) || (open === 0 && rest !== 1)) {
    const what = `dims divide ${ranks} ranks without a rest`;
    throw noArgument('ERR_MPI_DIMS', 'dimsCreate', what, wanted.join(', '));
  }
  const chosen = new Array<number>(open).fill(1);
  for (const factor of primeFactors(rest).reverse()) {
    chosen[chosen.indexOf(Math.min(...chosen))] *= factor;
  }
  chosen.sort((a, b) => b - a);
  return wanted.map((count) => (count === 0 ? chosen.shift()! : count));
}

/** In increasing order. */
function primeFactors(number: number): number[] {
  const factors: number[] = [];
  let rest = number;
  for (let factor = 2; factor * factor <= rest; factor++) {
    for (; rest % factor === 0; rest /= factor) factors.push(factor);
  }
  if (rest > 1) factors.push(rest);
  return factors;
}
