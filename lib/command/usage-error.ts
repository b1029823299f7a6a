/** A command line that makes no sense: told in one line, with exit status 2. */
import { ViaductError } from '../errors.js';

/** Code: `ERR_USAGE`. */
export class UsageError extends ViaductError {
  constructor(message: string) {
    super('ERR_USAGE', message);
  }
}
