/** Finds the program that a job or a command runs, before anything is started. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { basename, delimiter, join, resolve } from 'node:path';

import { JobError } from './job-error.js';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function interpreterHint(path: string): string {
  return /\.[cm]?js$/.test(path) ? `, or run it as: node ${path}` : '';
}

/**
 * The absolute path of a program that is given as a path (it has a slash; relative to `cwd`) or as
 * a name to be looked up in `searchPath`, the value of PATH.
 *
 * @throws JobError `ERR_JOB_PROGRAM` when there is none, `ERR_JOB_NOT_EXECUTABLE` when the file is
 *   there but cannot be executed.
 */
export function resolveProgram(
  command: string,
  cwd: string,
  searchPath: string,
  call = 'runJob',
): string {
  const details = { call, operands: { command, cwd } };
  if (command.includes('/')) {
    const path = resolve(cwd, command);
    if (isExecutable(path)) return path;
    if (!existsSync(path)) {
      throw new JobError('ERR_JOB_PROGRAM', `there is no program ${path}; check the path`, details);
    }
    throw new JobError(
      'ERR_JOB_NOT_EXECUTABLE',
      `${path} is not an executable file; chmod +x it${interpreterHint(command)}`,
      details,
    );
  }
  for (const folder of searchPath.split(delimiter)) {
    const path = resolve(cwd, folder, command);
    if (isExecutable(path)) return path;
  }
  const here = existsSync(join(cwd, command))
    ? `; for the file in this folder write ./${basename(command)}${interpreterHint(command)}`
    : '; check its spelling, or give its path';
  throw new JobError('ERR_JOB_PROGRAM', `there is no program '${command}' in PATH${here}`, details);
}
