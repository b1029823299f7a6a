/**
 * Loads that are ordered before what follows them, at the price of a plain load where the processor gives that for
 * nothing.
 *
 * `Atomics.load` is a call of some 20 ns in V8. On x86-64 every load is an acquire already, a load after a
 * sequentially consistent store (`Atomics.store`, an `xchg`) is not moved before it (Intel SDM vol. 3, section 9.2.2),
 * and V8 keeps the loads and stores of typed arrays in program order. Other processors need the instruction that
 * `Atomics.load` is.
 *
 * A loop that spins on such a load does some atomic operation now and then, so that no compiler may keep the value.
 */
const LOADS_ARE_ORDERED = process.arch === 'x64';

export function loadOrdered(words: Int32Array, index: number): number {
  return LOADS_ARE_ORDERED ? words[index] : Atomics.load(words, index);
}
