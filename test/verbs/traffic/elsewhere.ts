/**
 * Routes between processes that are not of this host's device. Whoever has them gives them before it imports tests of
 * this suite, and ends them after.
 */
import type { PathExplanation } from 'viaduct/verbs';

import type { Peer } from './peer.js';

export interface RouteElsewhere {
  readonly name: string;
  /** Where the two sides are. */
  readonly at: { readonly a: Peer; readonly b: Peer };
  /** What a software HCA among them must say of it. */
  readonly path?: PathExplanation['path'];
}

let given: readonly RouteElsewhere[] = [];
let chosen = /^/;

/** @param only the names of the tests that are to run; all by default */
export function takeRoutes(routes: readonly RouteElsewhere[], only = /^/): void {
  given = routes;
  chosen = only;
}

export const routesElsewhere = (): readonly RouteElsewhere[] => given;

export const isChosen = (name: string): boolean => chosen.test(name);
