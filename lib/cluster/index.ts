/**
 * Places for jobs that are more than this host: each rank in a virtual machine of its own. The only layer that knows
 * both virtual machines and ranks.
 *
 * @module viaduct/cluster
 */
export { VmPlace, type RankDriver, type VmPlaceOptions } from './vm-place.js';
