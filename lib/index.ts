/**
 * What most programs start with; each layer's whole interface is under its own name, such as viaduct/mpi.
 *
 * @module viaduct
 */
export { Aperture } from './aperture/index.js';
export { ClosedError, type ErrorDetails, ViaductError } from './errors.js';
export { runJob } from './job/index.js';
export {
  ANY_SOURCE,
  ANY_TAG,
  type Communicator,
  init,
  type Request,
  type Status,
} from './mpi/index.js';
export { VirtualMachine } from './vm/index.js';
