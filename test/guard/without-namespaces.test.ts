/** The guard's promises where the system permits no namespaces, as in many containers. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import t from 'tap';

t.setTimeout(120_000);

const tests = fileURLToPath(new URL('guard.test.js', import.meta.url));

/** In a user namespace of its own the command may forbid itself to make more. */
function withoutNamespaces(...command: string[]): { status: number | null; output: string } {
  const script =
    'for kind in user pid mnt; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec "$@"';
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--user', '--map-root-user', 'sh', '-ec', script, 'sh', ...command],
    { encoding: 'utf8', env: { ...process.env, TAP: '1' } },
  );
  return { status, output: `${stdout ?? ''}${stderr ?? ''}` };
}

const possible = withoutNamespaces('true').status === 0;

t.test(
  'all tests of the guard pass without namespaces',
  { skip: possible ? false : 'this system permits no user namespace to try it in' },
  async (t) => {
    t.equal(withoutNamespaces('unshare', '--pid', 'true').status, 1, 'namespaces are forbidden');
    const { status, output } = withoutNamespaces(process.execPath, tests);
    t.equal(status, 0, output);
  },
);
