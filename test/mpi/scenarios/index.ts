/** All scenarios, in the order in which a job runs them. */
import { communicators } from './communicators.js';
import { datatypes } from './datatypes.js';
import { matching } from './matching.js';
import { modes } from './modes.js';
import { probes } from './probes.js';
import { requests } from './requests.js';
import type { Scenario } from './scenario.js';
import { transfer } from './transfer.js';
import { waiting } from './waiting.js';

export const allScenarios: readonly Scenario[] = [
  ...transfer,
  ...matching,
  ...requests,
  ...modes,
  ...probes,
  ...waiting,
  ...datatypes,
  ...communicators,
];
