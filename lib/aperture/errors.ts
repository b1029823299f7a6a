/** What can go wrong with an aperture. */
import { ViaductError } from '../errors.js';

/**
 * Codes: `ERR_APERTURE_MISSING` (no such door), `ERR_APERTURE_ACCESS` (another user's),
 * `ERR_APERTURE_FOREIGN` (not an aperture, or of another layout version), `ERR_APERTURE_MEMORY` (no memory for
 * it), `ERR_APERTURE_FULL` (no room for a block), `ERR_APERTURE_PARTICIPANT` (index taken or out of range),
 * `ERR_APERTURE_ARGUMENT`, `ERR_APERTURE_SYSTEM` (another failure of the operating system, in `errno`).
 */
export class ApertureError extends ViaductError {}
