// Prints the prefix under which the headers of this very Node.js are installed, or nothing.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Headers of another version would compile and then crash. */
export function installedHeaders() {
  const prefixes = [
    process.env.npm_config_nodedir,
    dirname(dirname(process.execPath)),
    '/usr/local',
    '/usr',
  ];
  return prefixes.find((prefix) => {
    if (prefix === undefined) return false;
    const header = join(prefix, 'include', 'node', 'node_version.h');
    if (!existsSync(header)) return false;
    const text = readFileSync(header, 'utf8');
    const part = (name) => new RegExp(`define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
    return ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.') === process.versions.node;
  });
}

if (process.argv[1] === import.meta.filename) console.log(installedHeaders() ?? '');
