/**
 * Two processes, each in a network namespace of its own, that meet by a pair of virtual interfaces alone: to each
 * other they are on other hosts. Namespaces and interfaces go with the processes.
 */
import { execFileSync } from 'node:child_process';

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

export interface NeighbourOptions {
  /** For both processes. */
  readonly env?: NodeJS.ProcessEnv;
  /** Lines for nft(8), for both. */
  readonly rules?: readonly string[];
  /** Of the interfaces. Default 9000, which has room for RoCEv2's 4096 bytes; 1500 have for 1024. */
  readonly mtu?: number;
}

/** Runs a command and waits for it. */
export function inNamespaceOf(pid: number, ...command: readonly string[]): void {
  execFileSync('nsenter', ['-t', String(pid), '-n', '--', ...command], { stdio: 'pipe' });
}

export interface Neighbours {
  readonly a: Peer;
  readonly b: Peer;
  /** When they can meet. */
  readonly joined: Promise<void>;
}

/** Both run the software HCA as a device of RoCE. */
export function startNeighbours(options: NeighbourOptions = {}): Neighbours {
  const { env = {} } = options;
  const start = (): Peer =>
    Peer.start({ VIADUCT_LINK_LAYER: 'ethernet', ...env }, [
      'unshare',
      '-n',
      '--',
      process.execPath,
    ]);
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
    inNamespaceOf(pid, 'ip', 'link', 'set', 'packets0', 'up');
    for (const rule of rules) inNamespaceOf(pid, 'nft', rule);
  }
}
