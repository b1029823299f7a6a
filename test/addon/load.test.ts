/** Finding the native addon and the executables beside it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { addon, builtExecutable, packageRoot } from '../../lib/addon/index.js';

t.test('the package root is where package.json names viaduct', async (t) => {
  const text = readFileSync(join(packageRoot, 'package.json'), 'utf8');
  t.match(JSON.parse(text), { name: 'viaduct' });
});

t.test('the addon loads, once', async (t) => {
  t.type(addon(), 'object');
  t.equal(addon(), addon());
});

t.test('built executables are beside the addon', async (t) => {
  t.ok(existsSync(builtExecutable('viaduct.node')));
});
