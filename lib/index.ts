export { ViaductError, ClosedError, type ErrorDetails } from './errors.js';
