/** Tests with User-Mode Linux need its program, and say so where it is missing. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export const UML = 'linux.uml';

const folders = (process.env['PATH'] ?? '').split(delimiter);

/** What tap takes as `skip`: false where the program is installed. */
export const withoutUml = folders.some((folder) => existsSync(join(folder, UML)))
  ? false
  : `${UML} is not in PATH; apt-get install user-mode-linux`;
