/** Finds the program that a driver runs. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { VmError } from '../errors.js';

/** The path of an executable in PATH; undefined if it isn't there. */
export function findInPath(program: string): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const candidate = join(directory === '' ? '.' : directory, program);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

/** @throws VmError `ERR_VM_DRIVER` */
export function findProgram(
  vm: string,
  driver: string,
  program: string,
  debianPackage: string,
): string {
  const found = findInPath(program);
  if (found !== undefined) return found;
  const path = process.env['PATH'] ?? '';
  throw new VmError(
    'ERR_VM_DRIVER',
    `driver ${driver}: ${program} is not in PATH (${path}); ` +
      `on Debian and Ubuntu install it with \`apt-get install ${debianPackage}\``,
    { vm, call: 'VirtualMachine.boot', operands: { driver, path } },
  );
}
