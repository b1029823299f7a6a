// Exits with 0 if node_modules holds exactly what package-lock.json says, and with 1 if not.
import { existsSync, readFileSync } from 'node:fs';

function packagesIn(lockFile) {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8'));
  return Object.entries(packages).filter(([path]) => path !== '');
}

function match() {
  // npm's own record of what it put into node_modules.
  const record = 'node_modules/.package-lock.json';
  if (!existsSync(record)) return false;
  const installed = new Map(packagesIn(record));
  for (const [path, wanted] of packagesIn('package-lock.json')) {
    const found = installed.get(path);
    installed.delete(path);
    // npm leaves optional packages out that are for another system.
    if (found === undefined && wanted.optional) continue;
    if (found?.version !== wanted.version || found?.integrity !== wanted.integrity) return false;
    if (!existsSync(`${path}/package.json`)) return false;
  }
  return installed.size === 0;
}

process.exitCode = match() ? 0 : 1;
