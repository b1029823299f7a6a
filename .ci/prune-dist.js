// Removes from dist what was compiled from sources that are gone, lest deleted tests still run.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const compiled = existsSync('dist') ? readdirSync('dist', { recursive: true }) : [];
for (const name of compiled) {
  const stem = /^(.*?)(\.js|\.js\.map|\.d\.ts)$/.exec(name)?.[1];
  if (stem !== undefined && !existsSync(`${stem}.ts`)) rmSync(join('dist', name));
}
