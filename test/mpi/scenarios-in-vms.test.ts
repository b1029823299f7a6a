/** The same scenarios among virtual machines: each rank in one of its own, with a kernel of its own. */
import t from 'tap';

import { VmPlace } from '../../lib/cluster/index.js';
import { withoutUml } from '../uml-installed.js';
import { runScenarios } from './run-scenarios.js';

t.test('two virtual machines', { skip: withoutUml }, (t) =>
  runScenarios(t, 2, {}, new VmPlace({ driver: 'uml', size: 2 })),
);
