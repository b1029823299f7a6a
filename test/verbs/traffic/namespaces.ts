/**
 * Two processes, each in a network namespace of its own, that meet by a pair of virtual interfaces alone: to each
 * other they are on other hosts. Namespaces and interfaces go with the processes.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { Peer } from './peer.js';

/** Why there can be none, or false. */
export function lackingNamespaces(): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces and their interfaces need root';
  try {
    execFileSync('unshare', ['-n', '--', 'true'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'no network namespace can be made here';
  }
}

const ADDRESSES = ['10.77.0.1', '10.77.0.2'] as const;
const SIXTH = ['fd77::1', 'fd77::2'] as const;

export interface NeighbourOptions {
  /** For both processes. */
  readonly env?: NodeJS.ProcessEnv;
  /** Lines for nft(8), for both. */
  readonly rules?: readonly string[];
  /** Of the interfaces. Default 9000, which has room for RoCEv2's 4096 bytes; 1500 have for 1024. */
  readonly mtu?: number;
}

/** Runs a command and waits for it; returns what it prints. */
export function inNamespaceOf(pid: number, ...command: readonly string[]): string {
  const line = ['-t', String(pid), '-n', '--', ...command];
  return execFileSync('nsenter', line, { stdio: 'pipe', encoding: 'utf8' });
}

/**
 * Resolves when the kernel has noticed that the link of that side is up, up to a second after it is: until then it
 * takes nothing in that IPv6 sends to groups.
 */
export async function linkNoticed(peer: Peer): Promise<void> {
  const pid = await peer.processNumber();
  while (!inNamespaceOf(pid, 'ip', 'link', 'show', 'packets0').includes('state UP'))
    await sleep(20);
}

export interface Neighbours {
  readonly a: Peer;
  readonly b: Peer;
  /** When they can meet. */
  readonly joined: Promise<void>;
}

const ROCE = { VIADUCT_LINK_LAYER: 'ethernet' };

/** Another process in the namespace of one, at the same address. */
export async function startBeside(peer: Peer, env: NodeJS.ProcessEnv = {}): Promise<Peer> {
  const pid = String(await peer.processNumber());
  return Peer.start({ ...ROCE, ...env }, ['nsenter', '-t', pid, '-n', '--', process.execPath]);
}

/** Both run the software HCA as a device of RoCE. */
export function startNeighbours(options: NeighbourOptions = {}): Neighbours {
  const { env = {} } = options;
  const start = (): Peer =>
    Peer.start({ ...ROCE, ...env }, ['unshare', '-n', '--', process.execPath]);
  const a = start();
  const b = start();
  return { a, b, joined: join(a, b, options) };
}

async function join(a: Peer, b: Peer, options: NeighbourOptions): Promise<void> {
  // Each answers from its namespace.
  joinNamespacesOf([await a.processNumber(), await b.processNumber()], options);
}

/** Puts a pair of interfaces between the network namespaces of two processes. */
export function joinNamespacesOf(
  pids: readonly [number, number],
  { rules = [], mtu = 9000 }: Omit<NeighbourOptions, 'env'> = {},
): void {
  inNamespaceOf(
    pids[0],
    ...['ip', 'link', 'add', 'packets0', 'mtu', String(mtu), 'type', 'veth'],
    ...['peer', 'name', 'packets0', 'mtu', String(mtu), 'netns', String(pids[1])],
  );
  for (const [i, pid] of pids.entries()) {
    inNamespaceOf(pid, 'ip', 'link', 'set', 'lo', 'up');
    inNamespaceOf(pid, 'ip', 'address', 'add', `${ADDRESSES[i] ?? ''}/24`, 'dev', 'packets0');
    const sixth = `${SIXTH[i] ?? ''}/64`;
    inNamespaceOf(pid, 'ip', '-6', 'address', 'add', sixth, 'dev', 'packets0', 'nodad');
    inNamespaceOf(pid, 'ip', 'link', 'set', 'packets0', 'up');
    for (const rule of rules) inNamespaceOf(pid, 'nft', rule);
  }
}
