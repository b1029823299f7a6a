/** What can go wrong between a rank and its launcher. */
import { ViaductError } from '../errors.js';

/**
 * Codes: `ERR_PMI_ENVIRONMENT` (the launcher's variables contradict each other), `ERR_PMI_DESCRIPTOR` (the connection
 * was not inherited), `ERR_PMI_CLOSED` (the launcher is gone), `ERR_PMI_REFUSED` (it said no), `ERR_PMI_PROTOCOL` (it
 * said what no launcher says), `ERR_PMI_TIMEOUT`.
 */
export class PmiError extends ViaductError {}
