// What `npm run docs` makes of the docstrings of the package's public entry points: HTML in docs/api.
import { readFileSync } from 'node:fs';

const { exports: entries } = JSON.parse(readFileSync('package.json', 'utf8'));

/** The sources of the entry points. The root comes last, so that each class is shown in its own layer. */
const entryPoints = Object.values(entries)
  .filter((entry) => entry.types !== undefined)
  .map((entry) => entry.types.replace(/^\.\/dist\/(.*)\.d\.ts$/, '$1.ts'))
  .sort((a, b) => b.split('/').length - a.split('/').length);

/** @type {Partial<import('typedoc').TypeDocOptions>} */
const options = {
  entryPoints,
  out: 'docs/api',
  name: 'Viaduct',
  readme: 'README.md',
  projectDocuments: ['ARCHITECTURE.md', 'CHANGELOG.md'],
  excludeInternal: true,
  // No class is made to be derived from.
  excludeProtected: true,
  excludeExternals: true,
  disableSources: true,
  hideGenerator: true,
  // By default `README.md` in a sentence is taken for the address of a host.
  markdownItOptions: { html: true, linkify: false },
  treatWarningsAsErrors: true,
  // The check `tsc` has looked for those.
  skipErrorChecking: true,
  validation: {
    notExported: true,
    invalidLink: true,
    invalidPath: true,
    rewrittenLink: true,
    notDocumented: true,
  },
};

export default options;
