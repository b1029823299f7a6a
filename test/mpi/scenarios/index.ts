/** All scenarios, in the order in which a job runs them. */
import { matching } from './matching.js';
import { requests } from './requests.js';
import type { Scenario } from './scenario.js';
import { transfer } from './transfer.js';

export const allScenarios: readonly Scenario[] = [...transfer, ...matching, ...requests];
