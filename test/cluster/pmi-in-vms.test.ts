/** PMI-1 in virtual machines: programs built with MPICH run there, and ranks of ours that find no shared memory say so. */
import t from 'tap';

import { rankProgram, shell, viaduct } from '../command/launcher.js';
import { compileExchange, EXCHANGE, withoutMpich } from '../job/mpich-program.js';
import { withoutUml } from '../uml-installed.js';

t.test(
  'programs built with MPICH meet in virtual machines and over their network',
  { skip: withoutUml || withoutMpich },
  async (t) => {
    const exchange = compileExchange(t.testdir({ 'exchange.c': EXCHANGE }));
    const ended = await viaduct(t, ['run', '--vm', '--network', '-n', '2', '--', exchange]);
    t.strictSame(ended.stdout.split('\n').sort(), ['', '[0] sum 1', '[1] sum 1']);
    t.equal(ended.stderr, '');
    t.equal(ended.status, 0);
  },
);

t.test(
  'ranks that only PMI-1 joins across machines say why they can not meet',
  { skip: withoutUml },
  async (t) => {
    const program = rankProgram('ring').slice(1).join(' ');
    const script = `unset VIADUCT_RANK VIADUCT_SIZE; exec ${program}`;
    const ended = await viaduct(t, ['run', '--vm', '-n', '2', ...shell(script)]);
    t.match(ended.stderr, /ERR_MPI_LAUNCHER/);
    t.match(ended.stderr, /rank [01] runs on another host or virtual machine .* no address there/);
    t.equal(ended.status, 1);
  },
);
