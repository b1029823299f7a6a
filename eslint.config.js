// The linter's rules: the strict set of typescript-eslint, and the layers of .ci/layers.json.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import importX, { createNodeResolver } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const root = import.meta.dirname;
const layers = JSON.parse(readFileSync(join(root, '.ci', 'layers.json'), 'utf8'));

/** Who may not import what, as import-x/no-restricted-paths has it. */
function forbiddenPaths() {
  const zones = layers.lib.map((layer, index) => ({
    target: `./lib/${layer}`,
    from: ['./lib/index.ts', ...layers.lib.slice(0, index).map((higher) => `./lib/${higher}`)],
    message: `lib/${layer} may import only layers below it (.ci/layers.json has the order).`,
  }));
  for (const [layer, { layers: unknown, because }] of Object.entries(layers.libKnowsNot)) {
    zones.push({
      target: `./lib/${layer}`,
      from: unknown.map((other) => `./lib/${other}`),
      message: `lib/${layer} may not import it: ${because}.`,
    });
  }
  zones.push(
    {
      target: './lib',
      from: ['./bench', './test', './dist'],
      message: 'lib imports only lib: it is what users install.',
    },
    { target: './bench', from: ['./test'], message: 'bench does not import test.' },
  );
  return { basePath: root, zones };
}

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'docs/api/', '.tap/', 'results/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    settings: {
      'import-x/extensions': ['.ts', '.js'],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
      'import-x/resolver-next': [
        // Sources say './x.js' and mean './x.ts'.
        createNodeResolver({
          extensions: ['.ts', '.js'],
          extensionAlias: { '.js': ['.ts', '.js'] },
          conditionNames: ['import', 'default'],
        }),
      ],
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'import-x/no-restricted-paths': ['error', forbiddenPaths()],
      'import-x/no-cycle': 'error',
      'import-x/no-default-export': 'error',
      eqeqeq: 'error',
      'no-restricted-syntax': [
        'error',
        { selector: 'TSEnumDeclaration', message: 'Use a union of string literals.' },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'default',
          format: ['camelCase'],
          leadingUnderscore: 'allow',
        },
        { selector: 'import', format: null },
        {
          selector: 'variable',
          modifiers: ['const', 'global'],
          // PascalCase: an object that stands in for an enum.
          format: ['camelCase', 'UPPER_CASE', 'PascalCase'],
        },
        {
          selector: 'classProperty',
          modifiers: ['static', 'readonly'],
          format: ['camelCase', 'UPPER_CASE'],
        },
        // Names of others: what was taken out of a module or an object.
        { selector: 'variable', modifiers: ['destructured'], format: null },
        // Names in objects often belong to others: environment variables, headers, options.
        { selector: ['objectLiteralProperty', 'typeProperty'], format: null },
        { selector: 'objectLiteralMethod', modifiers: ['requiresQuotes'], format: null },
        { selector: 'typeLike', format: ['PascalCase'] },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      // The types say that each index holds something; a check that it does is not in vain.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // An environment is made of such keys.
      '@typescript-eslint/no-dynamic-delete': 'off',
      // An index checked by the loop around it, a field set by the state before: the reader knows.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // An interface of promises has members with nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['lib/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^viaduct(/|$)',
              message: 'Within lib, import by relative path: so the order of layers is checked.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // tap waits for its subtests by itself, awaited or not.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', package: '@tapjs/core', name: 'PromiseWithSubtest' },
          ],
        },
      ],
    },
  },
  {
    // Such a file is compiled, never run: its names are there to have types.
    files: ['test/types/**/*.ts'],
    rules: {
      '@typescript-eslint/consistent-type-imports': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/no-unused-vars': 'off',
    },
  },
  {
    files: ['**/*.js'],
    ...tseslint.configs.disableTypeChecked,
  },
  {
    files: ['eslint.config.js', 'typedoc.config.js'],
    rules: { 'import-x/no-default-export': 'off' },
  },
);
