/** The matrix where connections are mapped, and the memory of programs is copied by the kernel; and of more ranks. */
import t from 'tap';

import { runScenarios } from '../run-scenarios.js';
import { testPath } from './path.js';

testPath('direct and copy', 4);
t.test('scenarios of five ranks', (t) => runScenarios(t, 5, { VIADUCT_CHANNEL: 'verbs' }));
