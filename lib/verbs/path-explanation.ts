/** By which path the software HCA moves a queue pair's data, and why. */
import { attempt } from './errors.js';
import { type Handle, native } from './native.js';

/** viaduct_path of native/softhca/extensions.h */
const PATHS = ['none', 'loopback', 'direct', 'copy', 'mixed', 'packets'] as const;

/** What `qp.explain()` says of a queue pair of the software HCA. */
export interface PathExplanation {
  /**
   * `none`; `loopback`, to a queue pair of this process; `direct`, by loads and stores on the peer's mapped memory;
   * `copy`, by the kernel's copy between processes; `mixed`, direct or copy by the region that is named;
   * `packets`, as RoCEv2 over UDP.
   */
  readonly path: (typeof PATHS)[number];
  /** Why, in a sentence, with what to do where something can be done. */
  readonly reason: string;
  /** The peer's process number; 0 where it is unknown. */
  readonly peerPid: number;
  /** Whether the kernel lets this process copy from and to the peer's memory (ptrace(2) has the rules). */
  readonly copyPermitted: boolean;
  /** The peer's regions that are mapped into this process. */
  readonly directRegions: number;
  /** The peer's regions that are reached by copying. */
  readonly copiedRegions: number;
  /** Requests that went directly so far. */
  readonly directOperations: bigint;
  /** Their bytes. */
  readonly directBytes: bigint;
  /** Requests that were copied by the kernel so far. */
  readonly copiedOperations: bigint;
  /** Their bytes. */
  readonly copiedBytes: bigint;
  /** Requests that travelled as packets since the queue pair was connected. */
  readonly packetOperations: bigint;
  /** Their bytes. */
  readonly packetBytes: bigint;
}

export function explainPath(qp: Handle): PathExplanation {
  const { path, copyPermitted, ...rest } = attempt('qp.explain', {}, () => native.explainQp(qp));
  return { path: PATHS[path] ?? 'none', copyPermitted: copyPermitted !== 0, ...rest };
}
