// Fails if a file under native/ includes a header of a folder that is not below its own.
// Usage: node .ci/check-native-layers.js [REPO]
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const { native: levels, nativeMayAlsoInclude } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'layers.json'), 'utf8'),
);

const native = resolve(process.argv[2] ?? '.', 'native');
const folderOf = (path) => relative(native, path).split('/')[0];

/** The folders that a file in `folder` may include, or undefined if no layer is named so. */
function allowedFor(folder) {
  const level = levels.findIndex((folders) => folders.includes(folder));
  if (level < 0) return undefined;
  return [folder, ...levels.slice(level + 1).flat(), ...(nativeMayAlsoInclude[folder] ?? [])];
}

/** The file of ours that an #include names, or undefined for one of the system's. */
function resolveInclude(file, name) {
  return [join(dirname(file), name), join(native, name)].find((path) => existsSync(path));
}

function violations(file) {
  const folder = folderOf(file);
  const allowed = allowedFor(folder);
  if (allowed === undefined) {
    return [
      `${relative('.', file)}: native/${folder} is not in .ci/layers.json; add it at its level`,
    ];
  }
  const found = [];
  for (const [index, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    const name = /^\s*#\s*include\s*["<]([^">]+)[">]/.exec(line)?.[1];
    const included = name === undefined ? undefined : resolveInclude(file, name);
    if (included === undefined) continue;
    const other = folderOf(included);
    if (!allowed.includes(other)) {
      found.push(
        `${relative('.', file)}:${index + 1}: native/${folder} may not include native/${other}: ` +
          `it is not below (.ci/layers.json)`,
      );
    }
  }
  return found;
}

const sources = readdirSync(native, { recursive: true })
  .filter((name) => name.includes('/') && /\.(cc|cpp|c|h|hpp|inc)$/.test(name))
  .map((name) => join(native, name));
const found = sources.flatMap(violations);
for (const line of found) console.error(line);
console.log(`${sources.length} native files, ${found.length} includes that go up`);
process.exitCode = found.length === 0 ? 0 : 1;
