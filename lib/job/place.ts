/** What a job needs of the place where a rank runs: this host, or a virtual machine. */
import type { Duplex, Readable } from 'node:stream';

/** One rank as the job wants it started. */
export interface RankStart {
  /** The rank's number, from 0 to `size - 1`. */
  readonly rank: number;
  /** How many ranks the job has. */
  readonly size: number;
  /** The program's absolute path. */
  readonly command: string;
  /** The program's arguments. */
  readonly args: readonly string[];
  /** The whole of the rank's environment, with the variables that describe the job. */
  readonly env: Readonly<Record<string, string>>;
  /** The rank's working directory, an absolute path. */
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
  /** 0 to 255; null if a signal ended it. */
  readonly exitCode: number | null;
  /** Null if it ended by its own exit. */
  readonly signal: NodeJS.Signals | null;
}

/** A rank that runs. */
export interface RankProcess {
  /** What it writes, until it and all that holds the stream have ended. */
  readonly stdout: Readable;
  /** The same of its standard error. */
  readonly stderr: Readable;
  /**
   * The job's end of a connection whose other end the rank finds by its variable PMI_FD or PMI_PORT; undefined where the
   * place can't give it one.
   */
  readonly pmi?: Duplex;
  /** The rank's end, once and for all it started; rejects if the place was lost under the rank. */
  readonly exited: Promise<RankExit>;
  /** Sends a signal to the rank; harmless after its end. SIGKILL ends all that it started too. */
  kill(signal: NodeJS.Signals): void;
}

/** Starts ranks. All ranks of a job are started at once. */
export interface Place {
  /**
   * On which node a rank will be, by any whole number from 0 on: two of one node can share memory by their own means. By
   * default all are on one.
   */
  nodeOf?(rank: number): number;
  /** Starts one rank. Rejects if it can't be; the job then ends with `ERR_RANK_START`. */
  start(start: RankStart): Promise<RankProcess>;
  /** Gives back all that the place holds; called once, after the last rank's end. */
  close(): Promise<void>;
}
