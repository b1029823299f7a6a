/** What a ThreadPlace and its process say to each other, and where that has the ranks' streams. */

/** To the process. */
export type ToHost =
  | {
      readonly type: 'start';
      readonly rank: number;
      readonly script: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      /** Whether this rank reads the process's standard input. */
      readonly stdin: boolean;
    }
  | { readonly type: 'end'; readonly rank: number };

/** From the process, when a thread has ended. */
export interface FromHost {
  readonly rank: number;
  readonly exitCode: number;
}

/** The first is for messages. */
export const MESSAGE_DESCRIPTOR = 3;

/** The descriptor in the process to which a rank's stream is carried. */
export function streamDescriptor(rank: number, stream: 'stdout' | 'stderr'): number {
  return MESSAGE_DESCRIPTOR + 1 + 2 * rank + (stream === 'stdout' ? 0 : 1);
}
