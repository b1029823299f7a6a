/** The aperture of a job: one for all ranks, laid out for message passing before any of them attaches. */
import { Aperture } from '../aperture/index.js';
import { apertureSizeBytes, formatAperture } from './channels/aperture/layout.js';

/**
 * A new aperture with room for `size` ranks.
 *
 * @throws ApertureError when there is no memory for it.
 */
export function createJobAperture(size: number): Aperture {
  const aperture = Aperture.create({ sizeBytes: apertureSizeBytes(size), participants: size });
  try {
    formatAperture(aperture, size);
  } catch (error) {
    aperture.close();
    throw error;
  }
  return aperture;
}
