/**
 * The only layer that knows both virtual machines and ranks.
 *
 * @module viaduct/cluster
 */
export { VmPlace, type VmPlaceOptions } from './vm-place.js';
