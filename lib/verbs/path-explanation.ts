/** By which path the software HCA moves a queue pair's data, and why. */
import { attempt } from './errors.js';
import { type Handle, native } from './native.js';

/** viaduct_path of native/softhca/extensions.h */
const PATHS = ['none', 'loopback', 'direct', 'copy', 'mixed'] as const;

export interface PathExplanation {
  /**
   * `none`; `loopback`, to a queue pair of this process; `direct`, by loads and stores on the peer's mapped memory;
   * `copy`, by the kernel's copy between processes; `mixed`, direct or copy by the region that is named.
   */
  readonly path: (typeof PATHS)[number];
  /** Why, in a sentence, with what to do where something can be done. */
  readonly reason: string;
  /** 0: unknown. */
  readonly peerPid: number;
  readonly copyPermitted: boolean;
  /** The peer's regions that are reached directly, and by copying. */
  readonly directRegions: number;
  readonly copiedRegions: number;
  /** Requests so far, and their bytes, by path. */
  readonly directOperations: bigint;
  readonly directBytes: bigint;
  readonly copiedOperations: bigint;
  readonly copiedBytes: bigint;
}

export function explainPath(qp: Handle): PathExplanation {
  const { path, copyPermitted, ...rest } = attempt('qp.explain', {}, () => native.explainQp(qp));
  return { path: PATHS[path] ?? 'none', copyPermitted: copyPermitted !== 0, ...rest };
}
