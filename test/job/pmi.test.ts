/** Ranks that meet by PMI-1 alone, as under any launcher but ours. */
import t from 'tap';

import { rankProgram, shell, viaduct } from '../command/launcher.js';

const ring = rankProgram('ring').slice(1).join(' ');
/** Our launcher offers PMI-1, too; without these a rank takes it. */
const PMI_ALONE = 'unset VIADUCT_RANK VIADUCT_SIZE;';

t.test('ranks meet by PMI-1 alone', async (t) => {
  const ended = await viaduct(t, ['run', '-n', '3', ...shell(`${PMI_ALONE} exec ${ring}`)]);
  t.equal(ended.stderr, '');
  t.equal(ended.stdout, '[0] sum 3\n');
  t.equal(ended.status, 0);
});

/** A network namespace whose host has an address that is not its loopback's. */
const WITH_ADDRESS = [
  ...['ip link set lo up', 'ip link add here type veth peer name there'],
  ...['ip address add 198.51.100.1/24 dev here', 'ip link set here up', 'ip link set there up'],
  'exec "$@"',
].join(' && ');

t.test('ranks of two pid namespaces of one host send by packets', async (t) => {
  const inner = `exec unshare --pid --fork --kill-child ${ring}`;
  const script = `${PMI_ALONE} if [ $PMI_RANK = 1 ]; then ${inner}; else exec ${ring}; fi`;
  const { status, stdout, stderr } = await viaduct(t, ['run', '-n', '2', ...shell(script)], {
    within: ['unshare', '--net', 'sh', '-c', WITH_ADDRESS, 'sh'],
  });
  if (/unshare failed: Operation not permitted/.test(stderr)) {
    t.pass('namespaces are not permitted here', { skip: 'namespaces are not permitted here' });
    return;
  }
  t.equal(stderr, '');
  t.equal(stdout, '[0] sum 1\n');
  t.equal(status, 0);
});
