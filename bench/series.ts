/** Which subjects a run has, in the order of every table, chart and legend, and which ratios they make. */
import { wheres } from './measurement.js';
import type { Benchmark, Sampled, Subject } from './measurement.js';
import { sameSubject } from './statistics.js';

/** Says which library: a version says nothing to the reader of a table's heading. */
export function peerName(peer: string): string {
  return peer.replace(/ [^ ]*$/, '');
}

export function isViaduct(subject: Subject): boolean {
  return peerName(subject.peer) === 'viaduct';
}

/** A short heading: `native`, `verbs`, `VM`, `VM TCP`, `TCP`, or the name of a peer. */
export function headingOf(subject: Subject): string {
  if (subject.where === 'native' && !isViaduct(subject)) return peerName(subject.peer);
  const headings = {
    native: 'native',
    verbs: 'verbs',
    vm: 'VM',
    'vm-tcp': 'VM TCP',
    tcp: 'TCP',
  } as const;
  return headings[subject.where];
}

/** A legend's full line. */
export function labelOf(subject: Subject): string {
  if (subject.where === 'native' && !isViaduct(subject)) return `${subject.peer} (C), native`;
  const labels = {
    native: 'viaduct, native',
    verbs: 'viaduct, native, by verbs',
    vm: 'viaduct, VM to VM (VMM bypass)',
    'vm-tcp': 'TCP, VM to VM (virtual network)',
    tcp: 'TCP, native (loopback)',
  } as const;
  return labels[subject.where];
}

/** The subjects of a benchmark: viaduct's own first, then its peers, then TCP. */
export function subjectsOf(sampled: readonly Sampled[], benchmark: Benchmark): Subject[] {
  const found: Subject[] = [];
  for (const { benchmark: name, where, peer } of sampled) {
    if (name === benchmark && !found.some((one) => sameSubject(one, { where, peer }))) {
      found.push({ where, peer });
    }
  }
  const place = (subject: Subject): number =>
    subject.where === 'native' && !isViaduct(subject) ? 2.5 : wheres.indexOf(subject.where);
  return found.sort((a, b) => place(a) - place(b) || a.peer.localeCompare(b.peer));
}

/** Two subjects whose ratio is of interest. */
export interface Comparison {
  readonly over: Subject;
  readonly under: Subject;
  readonly heading: string;
}

/** Verbs and VM over native, native over each peer, and TCP between VMs over the bypass between the same VMs. */
export function comparisonsOf(subjects: readonly Subject[]): Comparison[] {
  const find = (where: string): Subject | undefined =>
    subjects.find(
      (subject) => subject.where === where && (isViaduct(subject) || where !== 'native'),
    );
  const native = find('native');
  const vm = find('vm');
  const pairs: [Subject | undefined, Subject | undefined][] = [
    [find('verbs'), native],
    [vm, native],
    ...subjects
      .filter((subject) => subject.where === 'native' && !isViaduct(subject))
      .map((peer): [Subject | undefined, Subject] => [native, peer]),
    [find('vm-tcp'), vm],
  ];
  return pairs.flatMap(([over, under]) =>
    over && under ? [{ over, under, heading: `${headingOf(over)}/${headingOf(under)}` }] : [],
  );
}
