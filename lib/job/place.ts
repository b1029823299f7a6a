/** What a job needs of the place where a rank runs: this host, or a virtual machine. */
import type { Readable } from 'node:stream';

/** One rank as the job wants it started. */
export interface RankStart {
  readonly rank: number;
  readonly size: number;
  /** The program's absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Path of the job's aperture on this host; a place may show it to the rank under another. */
  readonly aperture: string;
  /** The processor that the rank is bound to; undefined leaves it to the scheduler. */
  readonly cpu: number | undefined;
  /** Whether the rank reads the launcher's standard input; if not, it reads an empty one. */
  readonly stdin: 'inherit' | 'ignore';
  /** Aborted when the job ends before the rank has started. */
  readonly signal: AbortSignal;
}

/** How a rank's process ended: by its own exit (`exitCode`) or by a signal (`signal`). */
export interface RankExit {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A rank that runs. */
export interface RankProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** The rank's end, once and for all it started; rejects if the place was lost under the rank. */
  readonly exited: Promise<RankExit>;
  /** Sends a signal to the rank; harmless after its end. SIGKILL ends all that it started too. */
  kill(signal: NodeJS.Signals): void;
}

/** Starts ranks. All ranks of a job are started at once. */
export interface Place {
  start(start: RankStart): Promise<RankProcess>;
  /** Gives back all that the place holds; called once, after the last rank's end. */
  close(): Promise<void>;
}
