/** Providers: shared libraries that implement libibverbs, loaded when first asked for. */
import { existsSync } from 'node:fs';

import { builtExecutable } from '../addon/index.js';
import { VerbsError } from './errors.js';
import { native } from './native.js';

/** `system`: the system's libibverbs, for hardware and for Soft-RoCE; `softhca`: the software HCA of this package. */
export type ProviderName = 'system' | 'softhca';

/** Hardware first, the software HCA last. */
export const PROVIDERS: readonly ProviderName[] = ['system', 'softhca'];

function pathOf(name: ProviderName): string {
  return name === 'system' ? 'libibverbs.so.1' : softwareHcaPath();
}

/** Path of the software HCA, for LD_PRELOAD. */
export function softwareHcaPath(): string {
  return builtExecutable('libviaduct-softhca.so');
}

function remedyOf(name: ProviderName): string {
  return name === 'system'
    ? 'install libibverbs (Debian: libibverbs1 and ibverbs-providers; Fedora: libibverbs)'
    : existsSync(softwareHcaPath())
      ? 'build it again with `npm rebuild viaduct`'
      : 'it was not built; run `npm rebuild viaduct` (needs the headers of libibverbs, Debian: libibverbs-dev)';
}

const loaded = new Map<ProviderName, number>();

/**
 * The number by which native code knows the provider.
 *
 * @throws VerbsError `ERR_VERBS_PROVIDER` when it can't be loaded, naming the package to install.
 */
export function loadProvider(name: ProviderName): number {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const result = native.loadProvider(pathOf(name));
  if (typeof result === 'string') {
    throw new VerbsError(
      'ERR_VERBS_PROVIDER',
      `the provider '${name}' can't be loaded (${result}); ${remedyOf(name)}`,
      { call: 'openDevice', verb: 'dlopen', operands: { provider: name } },
    );
  }
  loaded.set(name, result);
  return result;
}
