// Joins the compiled files of lib into few, dist/bundle, which is what package.json exports: loading a hundred small files
// would take longer than all that a short program does. All stand in one folder, where programs find those that they start.
import { chmodSync, existsSync, rmSync } from 'node:fs';

import { rollup } from 'rollup';

export const BUNDLE = 'dist/bundle';

const library = {
  index: 'dist/lib/index.js',
  aperture: 'dist/lib/aperture/index.js',
  verbs: 'dist/lib/verbs/index.js',
  mpi: 'dist/lib/mpi/index.js',
  job: 'dist/lib/job/index.js',
  vm: 'dist/lib/vm/index.js',
  cluster: 'dist/lib/cluster/index.js',
  // Started in threads and processes of their own, by name.
  'thread-host': 'dist/lib/job/thread-host.js',
  thread: 'dist/lib/mpi/bootstrap/tcp/thread.js',
  keeper: 'dist/lib/vm/keeper/keeper.js',
};

/** A process of its own, so that it shares nothing with the library: what starts jobs is one file beside the first. */
const command = { main: 'dist/lib/command/main.js' };
const FIRST_NEEDED = /\/lib\/command\/run\.js$/;

export const isBundled = () =>
  Object.keys({ ...library, ...command }).every((name) => existsSync(`${BUNDLE}/${name}.js`));

/** All that is loaded with a module, itself included. */
function loadedWith(id, getModuleInfo, found = new Set()) {
  if (found.has(id)) return found;
  found.add(id);
  for (const other of getModuleInfo(id)?.importedIds ?? []) loadedWith(other, getModuleInfo, found);
  return found;
}

async function join(input, output) {
  const build = await rollup({
    input,
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !id.startsWith('dist/'),
    treeshake: false,
    onwarn(warning) {
      // Classes that know each other.
      if (warning.code !== 'CIRCULAR_DEPENDENCY') throw new Error(warning.message);
    },
  });
  await build.write({ dir: BUNDLE, format: 'es', entryFileNames: '[name].js', ...output });
  await build.close();
}

export async function bundle() {
  rmSync(BUNDLE, { recursive: true, force: true });
  await join(library, { chunkFileNames: 'shared-[name].js' });
  let first;
  await join(command, {
    chunkFileNames: 'command-[name].js',
    manualChunks(id, { getModuleIds, getModuleInfo }) {
      first ??= loadedWith(
        [...getModuleIds()].find((other) => FIRST_NEEDED.test(other)),
        getModuleInfo,
      );
      return first.has(id) ? 'base' : undefined;
    },
  });
  chmodSync(`${BUNDLE}/main.js`, 0o755);
}
