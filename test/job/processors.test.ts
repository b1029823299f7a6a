/** Which processors ranks are bound to. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { usableProcessors } from '../../lib/job/processors.js';
import { parseCpuList } from '../../lib/mpi/bootstrap/cpu-list.js';

t.test('a list as Linux writes it is read', async (t) => {
  t.strictSame(parseCpuList('0-3,8,10-11\n'), [0, 1, 2, 3, 8, 10, 11]);
  t.strictSame(parseCpuList('5'), [5]);
  t.strictSame(parseCpuList('\n'), []);
});

t.test('only processors of the affinity mask are usable', async (t) => {
  const all = usableProcessors();
  t.ok(all.length >= 1);
  t.equal(new Set(all).size, all.length, 'each once');
  const last = all.at(-1)!;
  const module = fileURLToPath(new URL('../../lib/job/processors.js', import.meta.url));
  const script = `import('${module}').then((m) => console.log(m.usableProcessors().join()))`;
  const output = execFileSync('taskset', ['-c', `${last}`, process.execPath, '-e', script]);
  t.equal(output.toString().trim(), `${last}`);
});
