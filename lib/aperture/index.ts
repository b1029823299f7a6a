/**
 * Apertures: memory that all participants of a job on one host map, in virtual machines or not.
 *
 * Every call on an aperture that is closed throws a `ClosedError`. Sizes and offsets are in bytes.
 *
 * @module viaduct/aperture
 */
export { Aperture, type ApertureOptions, type Block } from './aperture.js';
export { ApertureError } from './errors.js';
export { type Participant, type ParticipantState, Participants } from './participants.js';
