/** Finding the program of a job. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { resolveProgram } from '../../lib/job/program.js';

const folder = t.testdir({
  bin: { tool: '#!/bin/sh\n', notes: 'text', inner: {} },
  'app.js': 'text',
});
chmodSync(join(folder, 'bin/tool'), 0o755);

t.test('a name is looked up in the search path, folder by folder', async (t) => {
  t.equal(resolveProgram('tool', '/', `/nowhere:${folder}/bin`), join(folder, 'bin/tool'));
  t.equal(resolveProgram('tool', folder, 'bin'), join(folder, 'bin/tool'));
});

t.test('a path is taken from the working directory', async (t) => {
  t.equal(resolveProgram('bin/tool', folder, ''), join(folder, 'bin/tool'));
  t.equal(resolveProgram(join(folder, 'bin/tool'), '/', ''), join(folder, 'bin/tool'));
});

t.test('files that cannot be executed and folders are no programs', async (t) => {
  const path = join(folder, 'bin');
  t.throws(() => resolveProgram('notes', '/', path), { code: 'ERR_JOB_PROGRAM' });
  t.throws(() => resolveProgram('inner', '/', path), { code: 'ERR_JOB_PROGRAM' });
  t.throws(() => resolveProgram('bin/notes', folder, path), { code: 'ERR_JOB_NOT_EXECUTABLE' });
});

t.test('a script that needs an interpreter is told which', async (t) => {
  t.throws(() => resolveProgram('./app.js', folder, ''), { message: /node \.\/app\.js/ });
  t.throws(() => resolveProgram('app.js', folder, '/bin'), { message: /write \.\/app\.js/ });
});
