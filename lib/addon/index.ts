/** Finds and loads the native addon; the layers above declare the functions that they take from it. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import bindings from 'bindings';

import { ViaductError } from '../errors.js';

/** The package's root folder: where binding.gyp, build/ and dist/ are. */
export const packageRoot = dirname(createRequire(import.meta.url).resolve('viaduct/package.json'));

let loaded: unknown;

/**
 * The addon's exports, loaded on the first call.
 *
 * @throws ViaductError `ERR_ADDON` when it was not built for this Node.js or this processor.
 */
export function addon(): unknown {
  try {
    loaded ??= bindings({ bindings: 'viaduct', module_root: packageRoot });
    return loaded;
  } catch (cause) {
    throw new ViaductError(
      'ERR_ADDON',
      `viaduct's native addon could not be loaded from ${packageRoot}/build; ` +
        'build it with `npm rebuild viaduct` (needs g++, make and python3)',
      { call: 'import viaduct', cause },
    );
  }
}

/** Path of an executable that the package builds beside the addon, such as the guest agent. */
export function builtExecutable(name: string): string {
  return join(packageRoot, 'build', 'Release', name);
}
