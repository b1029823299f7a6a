/** Modules of a guest's kernel with all that they need, in the order in which they must be loaded. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { VmError } from '../errors.js';
import { runTool } from '../tool.js';

/** A module as the agent loads it. */
export interface KernelModule {
  readonly name: string;
  readonly data: Buffer;
}

/** Debian 12 has them plain, later releases by xz. */
const COMPRESSIONS = [
  { suffix: '.xz', program: 'xz', package: 'xz-utils' },
  { suffix: '.zst', program: 'zstd', package: 'zstd' },
] as const;

/** The kernel takes `-` and `_` in a module's name for the same. */
const nameOf = (path: string): string =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');

/**
 * @param folder what is /lib/modules/RELEASE in the guest's system, with modules.dep (depmod(8)) in it
 * @param names without suffix, each once
 * @throws VmError `ERR_VM_KERNEL` for a module that is not there, `ERR_VM_TOOL`
 */
export async function readModules(
  folder: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<KernelModule[]> {
  const dependencies = readDependencies(folder);
  const builtIn = new Set(readLines(join(folder, 'modules.builtin')).map(nameOf));
  const ordered = new Map<string, string>();
  for (const name of names) {
    const known = dependencies.get(name.replaceAll('-', '_'));
    if (known === undefined) {
      if (builtIn.has(name.replaceAll('-', '_'))) continue;
      throw new VmError('ERR_VM_KERNEL', `the guest's kernel has no module ${name}`, {
        call: 'VirtualMachine.boot',
        operands: { module: name, folder },
      });
    }
    // modules.dep(5): "in the order in which they should be loaded" from the last to the first.
    for (const path of known.toReversed()) ordered.set(nameOf(path), path);
  }
  return Promise.all(
    [...ordered].map(async ([name, path]) => ({
      name,
      data: await readModule(join(folder, path), signal),
    })),
  );
}

async function readModule(path: string, signal?: AbortSignal): Promise<Buffer> {
  const compression = COMPRESSIONS.find(({ suffix }) => path.endsWith(suffix));
  if (compression === undefined) return readFileSync(path);
  return runTool(compression.program, ['-dc', path], {
    package: compression.package,
    remedy: 'the module is corrupt',
    signal,
  });
}

/** Of each module its own path first, then those it needs. */
function readDependencies(folder: string): Map<string, string[]> {
  const lines = readLines(join(folder, 'modules.dep'));
  return new Map(
    lines.map((line) => {
      const [path = '', needed = ''] = line.split(':');
      return [nameOf(path), [path, ...needed.split(' ').filter(Boolean)]];
    }),
  );
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_KERNEL',
      `the guest kernel's modules can't be read: ${path}; depmod makes that file`,
      { call: 'VirtualMachine.boot', operands: { path }, cause },
    );
  }
}
