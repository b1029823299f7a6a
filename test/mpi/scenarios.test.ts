/** The scenarios of message passing on this host. */
import t from 'tap';

import { runScenarios } from './run-scenarios.js';

t.test('a world of one', (t) => runScenarios(t, 1));

t.test('two ranks, with single copies of long messages', (t) =>
  runScenarios(t, 2, { VIADUCT_LONG_MESSAGES: 'single-copy' }),
);

t.test('two ranks, with long messages in fragments', (t) =>
  runScenarios(t, 2, { VIADUCT_LONG_MESSAGES: 'fragments' }),
);

t.test('three ranks, which may be more than there are processors', (t) => runScenarios(t, 3));

t.test('nine ranks, whose queues are shorter', (t) => runScenarios(t, 9));
