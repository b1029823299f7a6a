/** The only layer that knows both virtual machines and ranks. */
export { VmPlace, type RankDriver, type VmPlaceOptions } from './vm-place.js';
