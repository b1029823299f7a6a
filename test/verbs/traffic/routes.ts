/**
 * The routes that traffic can take between two sides, and tests that run over each of them: within this process, or
 * to another by each path of the software HCA. Other devices have one route to another process. Or those between
 * processes of guests that `elsewhere.ts` was given.
 */
import t, { type Test } from 'tap';

import { Aperture } from 'viaduct/aperture';
import type { ConnectOptions, PathExplanation } from 'viaduct/verbs';

import { isChosen, routesElsewhere } from './elsewhere.js';
import { lackingNamespaces, startNeighbours } from './namespaces.js';
import { Peer } from './peer.js';
import { type Facts, factsOf } from './facts.js';
import { type Ends, LocalSide, type Side, type SideOptions } from './side.js';

export interface Route {
  readonly name: string;
  /** What the software HCA must say of it; other devices say nothing. */
  readonly path: PathExplanation['path'] | undefined;
  /** Whether each side's memory is such as peers can map. */
  readonly shareable: { readonly a: boolean; readonly b: boolean };
  /** Where each side is; undefined: in this process. */
  readonly at: { readonly a: Peer | undefined; readonly b: Peer | undefined };
  /** Why it can't be opened here. */
  readonly skip?: string | false;
  /** When it can be used. */
  readonly ready?: Promise<void>;
  /** Those of Facts that differ. */
  readonly gidIndex?: number;
}

/** Those of all sides that are elsewhere. */
const factsElsewhere = new Map<Peer, Facts>();
for (const peer of new Set(routesElsewhere().flatMap(({ at }) => [at.a, at.b]))) {
  factsElsewhere.set(peer, await peer.facts());
}

const everyFacts = factsElsewhere.size === 0 ? [factsOf()] : [...factsElsewhere.values()];
const every = (has: (each: Facts) => boolean): boolean => everyFacts.every(has);

/** Of the first side; its largest MTU is what all have. */
export const facts: Facts = everyFacts.reduce((first, { port: { activeMtu } }) => ({
  ...first,
  port: {
    ...first.port,
    activeMtu: activeMtu < first.port.activeMtu ? activeMtu : first.port.activeMtu,
  },
}));
export const isSoftwareHca = every(({ provider }) => provider === 'softhca');

/** Whether the device of a side is the kernel's rdma_rxe, which leaves some of the specification out. */
export function isSoftRoce(peer: Peer | undefined): boolean {
  const { provider, device } = (peer && factsElsewhere.get(peer)) ?? facts;
  return provider === 'system' && device.startsWith('rxe');
}

// Small memory shares its pages with what other threads of Node write, which remapping must not touch; the allocator
// gives such large pieces pages of their own.
const REMAP = { VIADUCT_REMAP: '1', MALLOC_MMAP_THRESHOLD_: '65536' };
const REMAPPED_BYTES = 1 << 19;

const SOFTWARE_ROUTES: readonly (readonly [string, Route['path'], boolean, boolean])[] = [
  ['copy', 'copy', false, false],
  ['direct', 'direct', true, true],
  ['remapped', 'direct', true, false],
];

/** For two participants. */
export const RINGS_BYTES = 2 ** 20;

/** Through rings in memory that both processes map, as virtual machines do. */
function ringsRoute(peers: Peer[]): Route {
  const aperture = Aperture.create({ sizeBytes: RINGS_BYTES });
  t.teardown(() => aperture.close());
  const { offset } = aperture.allocate(RINGS_BYTES);
  const start = (): Peer =>
    Peer.start({ VIADUCT_PACKET_RINGS: `${aperture.path}@${offset}+${RINGS_BYTES}` });
  const [a, b] = [start(), start()];
  peers.push(a, b);
  return {
    ...{ name: 'rings', path: 'packets', gidIndex: 2 },
    ...{ at: { a, b }, shareable: { a: false, b: false } },
  };
}

/** To what is another host to the software HCA. */
function packetRoute(peers: Peer[]): Route {
  const route: Route = {
    name: 'packets',
    path: 'packets',
    shareable: { a: false, b: false },
    at: { a: undefined, b: undefined },
  };
  const skip = lackingNamespaces();
  if (skip !== false) return { ...route, skip };
  const { a, b, joined } = startNeighbours();
  peers.push(a, b);
  // After the two GIDs that mean the host itself.
  return { ...route, at: { a, b }, ready: joined, gidIndex: 2 };
}

/**
 * The routes of this device. Those to other processes start one each, or share one; all are ended with the file.
 */
function openRoutes(): Route[] {
  const notShareable = { a: false, b: false };
  const elsewhere = routesElsewhere();
  if (elsewhere.length > 0) {
    return elsewhere.map((route) => ({ path: undefined, ...route, shareable: notShareable }));
  }
  const here: Route = {
    name: 'one process',
    path: isSoftwareHca ? 'loopback' : undefined,
    shareable: notShareable,
    at: { a: undefined, b: undefined },
  };
  const peer = Peer.start();
  const peers = [peer];
  const routes = [here];
  if (isSoftwareHca) {
    const remapped = Peer.start(REMAP);
    peers.push(remapped);
    for (const [name, path, a, b] of SOFTWARE_ROUTES) {
      routes.push({
        name,
        path,
        shareable: { a, b },
        at: { a: undefined, b: name === 'remapped' ? remapped : peer },
      });
    }
    routes.push(packetRoute(peers), ringsRoute(peers));
  } else {
    routes.push({ ...here, name: 'two processes', at: { a: undefined, b: peer } });
  }
  t.teardown(() => Promise.all(peers.map((each) => each.close())));
  return routes;
}

export interface PairOptions extends SideOptions {
  /** What differs on one side. */
  readonly a?: SideOptions;
  readonly b?: SideOptions;
  readonly connect?: ConnectOptions;
}

export interface Pair {
  readonly a: Side;
  readonly b: Side;
  readonly ends: { readonly a: Ends; readonly b: Ends };
}

async function sideAt(peer: Peer | undefined, options: SideOptions): Promise<Side> {
  return peer === undefined ? new LocalSide(options) : peer.side(options);
}

/** Emulated machines of a loaded host may not answer for a second: 4.096 µs · 2^18. */
const patience: ConnectOptions = routesElsewhere().length > 0 ? { timeout: 18 } : {};

export async function connect({ a, b, ends }: Pair, options?: ConnectOptions): Promise<void> {
  await a.connect(ends.b, { ...patience, ...options });
  await b.connect(ends.a, { ...patience, ...options });
}

async function checkExplained(t: Test, route: Route, { a, b }: Pair): Promise<void> {
  if (route.path === undefined) return;
  for (const side of [a, b]) {
    const explained = await side.explain();
    // The other is one of the system.
    if (explained === undefined && routesElsewhere().length > 0) continue;
    t.equal(explained?.path, route.path, explained?.reason ?? 'it explains its path');
  }
}

/** Two connected sides with nothing posted, closed with the test. */
export async function openPair(t: Test, route: Route, options: PairOptions = {}): Promise<Pair> {
  await route.ready;
  const { a: onA, b: onB, connect: how, ...both } = options;
  const sizeBytes = Math.max(
    both.sizeBytes ?? 8192,
    route.name === 'remapped' ? REMAPPED_BYTES : 0,
  );
  const { at, shareable } = route;
  const a = await sideAt(at.a, { ...both, sizeBytes, shareable: shareable.a, ...onA });
  t.teardown(() => a.close());
  const b = await sideAt(at.b, { ...both, sizeBytes, shareable: shareable.b, ...onB });
  t.teardown(() => b.close());
  const pair = { a, b, ends: { a: await a.ends(), b: await b.ends() } };
  await connect(pair, how);
  // Of datagrams and XRC it can only be told once they are on their way: see checkPath.
  if (options.type !== 'UD' && options.type !== 'XRC') await checkExplained(t, route, pair);
  return pair;
}

/** By what the software HCA counted: nothing went another way. */
export async function checkPath(t: Test, route: Route, { a, b }: Pair): Promise<void> {
  if (route.path === undefined) return;
  for (const side of [a, b]) {
    const explained = await side.explain();
    if (explained === undefined) continue;
    const { directOperations, copiedOperations, packetOperations } = explained;
    const took = {
      direct: directOperations > 0n,
      copy: copiedOperations > 0n,
      packets: packetOperations > 0n,
    };
    const mine = route.path === 'copy' || route.path === 'packets' ? route.path : 'direct';
    const others = { ...took, [mine]: false };
    t.same(
      others,
      { direct: false, copy: false, packets: false },
      `no request left the path '${route.path}'`,
    );
  }
}

const hasSoftRoce =
  factsElsewhere.size === 0
    ? isSoftRoce(undefined)
    : [...factsElsewhere.keys()].some((peer) => isSoftRoce(peer));

const everyCan = (capability: Facts['attributes']['capabilities'][number]): boolean =>
  every(({ attributes }) => attributes.capabilities.includes(capability));

/** What a test needs of the device, or of both, each with whether it is there. */
export const FEATURES = {
  xrc: everyCan('xrc'),
  windows: everyCan('mem-window') && every(({ attributes }) => attributes.maxMw > 0),
  'type 2 windows': everyCan('mem-window-type-2a') || everyCan('mem-window-type-2b'),
  'memory management extensions': everyCan('mem-mgt-extensions'),
  atomics: every(({ attributes }) => attributes.atomicCap !== 'none'),
  'shared receive queues': every(({ attributes }) => attributes.maxSrq > 0),
  multicast: every(({ attributes }) => attributes.maxMcastGrp > 0),
  timestamps: every(({ attributes }) => attributes.completionTimestampMask !== 0n),
  // No capability tells of these.
  'atomic writes': isSoftwareHca,
  'check of the bounds of windows': !hasSoftRoce,
  'multicast to its own port': !hasSoftRoce,
  'events of bad requests': !hasSoftRoce,
  'event of the last receive': !hasSoftRoce,
  'atomics that are not aligned': !hasSoftRoce,
  'UC that drops what does not fit': !hasSoftRoce,
  // Its library adds the first length of a list as often as there are entries (rdma-core before 2026).
  'several pieces by ibv_wr_*': !hasSoftRoce,
  'event of the first message': !hasSoftRoce,
  'flush of receives posted in the error state': !hasSoftRoce,
  'send queue that only polling frees': !hasSoftRoce,
  'local-invalidate by ibv_post_send': !hasSoftRoce,
  'answer to who invalidates a garbage key': !hasSoftRoce,
  'invalidated keys in completions': !hasSoftRoce,
} as const;

export type Feature = keyof typeof FEATURES;

export function lacking(needs: readonly Feature[]): string | false {
  const missing = needs.filter((each) => !FEATURES[each]);
  const devices = [...new Set(everyFacts.map(({ device }) => device))].join(' and ');
  return missing.length > 0 && `${devices} has no ${missing.join(', ')}`;
}

let routes: Route[] | undefined;

/** One test over each route. */
export function overRoutes(
  name: string,
  options: PairOptions & { readonly needs?: readonly Feature[] },
  run: (t: Test, pair: Pair, route: Route) => Promise<void>,
): void {
  if (!isChosen(name)) return;
  const { needs = [], ...pairOptions } = options;
  const skip = lacking([
    ...needs,
    ...(options.type === 'XRC' ? (['xrc'] as const) : []),
    ...(options.srq === true ? (['shared receive queues'] as const) : []),
  ]);
  routes ??= openRoutes();
  for (const route of routes) {
    t.test(`${name} (${route.name})`, { skip: skip || route.skip || false }, async (t) => {
      const pair = await openPair(t, route, pairOptions);
      await run(t, pair, route);
      await checkPath(t, route, pair);
    });
  }
}
