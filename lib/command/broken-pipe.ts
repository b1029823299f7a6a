/** What a command does when nobody reads what it writes, as in `viaduct devices | head -1`. */
import { constants } from 'node:os';

const onError = (error: NodeJS.ErrnoException): void => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(128 + constants.signals.SIGPIPE);
};

/** Ends quietly, as Unix programs do; or leaves it to who has something to put in order first. */
export function endWithReader(isWanted: boolean): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (isWanted) stream.on('error', onError);
    else stream.off('error', onError);
  }
}
