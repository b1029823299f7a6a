/** What a rank and the thread that keeps its connection say to each other. */
import type { LiaisonOptions } from './liaison.js';

export type ThreadOptions = LiaisonOptions;

export type ToThread =
  | { readonly type: 'bring'; readonly value: string }
  /** From now on failures are marked in this aperture. */
  | { readonly type: 'watch'; readonly aperture: string }
  | { readonly type: 'leave' };

export type FromThread =
  | { readonly type: 'joined' }
  | { readonly type: 'brought'; readonly values: readonly string[] }
  /** The job can't begin, or goes on no more. */
  | { readonly type: 'problem'; readonly message: string }
  | { readonly type: 'left' };
