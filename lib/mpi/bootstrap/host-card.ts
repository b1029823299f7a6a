/** What a rank says of the host that it runs on, for others to tell whether they can share memory with it. */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

import { kernelId } from '../../aperture/kernel.js';
import { parseCpuList } from './cpu-list.js';

/** Increased when cards or the way to the aperture change: ranks of two versions do not understand each other. */
const CARD_VERSION = 2;

/** One rank's host. */
export interface HostCard {
  readonly version: number;
  /** The running kernel, by its boot id; never by name, since names are given twice. */
  readonly kernel: string;
  /** Processes of two namespaces can't name each other, although they run on one kernel. */
  readonly pidNamespace: string;
  /** The processors that the rank may use. */
  readonly cpus: string;
  /** For people. */
  readonly name: string;
}

/** This process's card. */
export function ownCard(): HostCard {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    version: CARD_VERSION,
    kernel: kernelId().toString(16),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
    cpus: /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '',
    name: hostname(),
  };
}

/** Why two ranks can't share memory, as what follows `rank N`; undefined if they probably can. */
export function whyApart(mine: HostCard, theirs: HostCard): string | undefined {
  if (theirs.kernel !== mine.kernel) {
    return `runs on another host or virtual machine (${theirs.name})`;
  }
  if (theirs.pidNamespace !== mine.pidNamespace) {
    return 'runs on this host in another pid namespace, where neither can name the other';
  }
  return undefined;
}

/** Whether there are more ranks than processors that they may use together. */
export function areOversubscribed(cards: readonly HostCard[]): boolean {
  const processors = new Set(cards.flatMap(({ cpus }) => parseCpuList(cpus)));
  return cards.length > processors.size;
}
