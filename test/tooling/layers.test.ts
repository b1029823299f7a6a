/** The order of the layers holds: an import or an #include that goes up fails the check. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ESLint } from 'eslint';
import t from 'tap';

import { packageRoot } from '../../lib/addon/index.js';

const eslint = new ESLint({ cwd: packageRoot });

/** What the linter says about the imports of `text`, were it the text of the file `path`. */
async function importErrors(path: string, text: string): Promise<string[]> {
  const results = await eslint.lintText(text, { filePath: join(packageRoot, path) });
  return results
    .flatMap(({ messages }) => messages)
    .filter(
      ({ fatal, ruleId }) => fatal === true || /restricted-(paths|imports)$/.test(ruleId ?? ''),
    )
    .map(({ ruleId, message }) => `${ruleId ?? 'fatal'}: ${message}`);
}

/** The layers that exist, highest first, as the file that others import. */
function layerFiles(): string[] {
  const text = readFileSync(join(packageRoot, '.ci/layers.json'), 'utf8');
  const { lib } = JSON.parse(text) as { lib: string[] };
  return lib
    .map((layer) => (layer.endsWith('.ts') ? `lib/${layer}` : `lib/${layer}/index.ts`))
    .filter((path) => existsSync(join(packageRoot, path)));
}

function importOf(path: string): string {
  return `export * from '../../${path.replace(/\.ts$/, '.js')}';\n`;
}

t.test('a layer that imports a higher one is an error', async (t) => {
  const files = layerFiles().filter((path) => path.endsWith('/index.ts'));
  t.ok(files.length > 0);
  for (const [index, higher] of files.entries()) {
    for (const lower of files.slice(index + 1)) {
      t.match(await importErrors(lower, importOf(higher)), [/may import only layers below it/]);
    }
  }
  const errors = await importErrors('lib/errors.ts', "export * from './addon/index.js';\n");
  t.match(errors, [/no-restricted-paths: .*lib\/errors.ts may import only layers below it/]);
});

t.test('the public entry stands above every layer', async (t) => {
  t.match(await importErrors('lib/addon/index.ts', "export * from '../index.js';\n"), [
    /may import only layers below it/,
  ]);
});

t.test('a dynamic import and an import of types count as imports', async (t) => {
  const texts = [
    "export const entry = await import('../index.js');\n",
    "import type { ViaductError } from '../index.js';\nexport type Mine = ViaductError;\n",
  ];
  for (const text of texts) {
    t.match(await importErrors('lib/addon/index.ts', text), [/may import only layers below it/]);
  }
});

t.test('a layer that imports a lower one is fine', async (t) => {
  t.strictSame(await importErrors('lib/addon/index.ts', "export * from '../errors.js';\n"), []);
});

t.test('lib imports neither tests nor itself by its public name', async (t) => {
  t.match(await importErrors('lib/addon/index.ts', "import '../../test/errors.test.js';\n"), [
    /lib imports only lib/,
  ]);
  t.match(await importErrors('lib/addon/index.ts', "export * from 'viaduct';\n"), [
    /import by relative path/,
  ]);
});

/** Runs the check of the native layers over a repository with these files. */
function checkNative(root: string) {
  const script = join(packageRoot, '.ci/check-native-layers.js');
  const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
  return { status, stderr };
}

t.test('an #include that goes up a native layer is an error', async (t) => {
  const root = t.testdir({
    native: {
      aperture: {
        'mapping.h': '',
        'mapping.cc': '#include "aperture/mapping.h"\n\n  #include "addon/module.h"\n',
      },
      guest: { 'main.cc': '#include "../aperture/mapping.h"\n' },
      softhca: { 'device.cc': '#include "aperture/mapping.h"\n#include <stdio.h>\n' },
      addon: { 'module.h': '#include "softhca/device.cc"\n#include <aperture/mapping.h>\n' },
    },
  });
  const { status, stderr } = checkNative(root);
  t.equal(status, 1);
  t.match(stderr, /mapping\.cc:3: native\/aperture may not include native\/addon/);
  t.match(stderr, /main\.cc:1: native\/guest may not include native\/aperture/);
  t.equal(stderr.trim().split('\n').length, 2);
});

t.test('a native folder that has no level is an error', async (t) => {
  const { status, stderr } = checkNative(t.testdir({ native: { helpers: { 'x.cc': '' } } }));
  t.equal(status, 1);
  t.match(stderr, /native\/helpers is not in \.ci\/layers\.json/);
});
