/**
 * Where the ranks' output goes: to the job's two streams line by line, or into files of a folder, or together with the job's
 * events as lines of JSON.
 */
import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { join } from 'node:path';

import { JobError } from './job-error.js';
import type { CheckedOptions, JobEvent, JobResult } from './job-options.js';
import { LineRelay, type Sink } from './line-relay.js';
import { Outlet } from './outlet.js';
import type { RankProcess } from './place.js';

type StreamName = 'stdout' | 'stderr';
const EXTENSION: Readonly<Record<StreamName, string>> = { stdout: 'out', stderr: 'err' };

/** Fields of an error for programs. */
function plain(
  error: Error & { code?: string; rank?: number | undefined; reason?: string },
): object {
  const { code, rank, reason, message } = error;
  return { code, rank, reason, message };
}

/** All output of one job. */
export class JobOutput {
  readonly #options: CheckedOptions;
  readonly #streams: Readonly<Record<StreamName, Outlet>>;
  readonly #files: WriteStream[] = [];
  readonly #fileOutlets: Outlet[] = [];
  readonly #onBroken: (error: Error) => void;

  /**
   * `onBroken` is told when a stream fails.
   *
   * @throws JobError `ERR_JOB_OUTPUT_DIR` when there can be no such folder.
   */
  constructor(options: CheckedOptions, onBroken: (error: Error) => void) {
    this.#options = options;
    this.#onBroken = onBroken;
    if (options.outputDir !== undefined) makeFolder(options.outputDir);
    this.#streams = {
      stdout: new Outlet(options.stdout ?? process.stdout, onBroken),
      stderr: new Outlet(options.stderr ?? process.stderr, onBroken),
    };
  }

  /** Begins to carry a rank's output. */
  relay(rank: number, started: RankProcess): LineRelay[] {
    return (['stdout', 'stderr'] as const).map((name) => {
      const label = this.#isLabelled ? `[${rank}] ` : '';
      return new LineRelay(started[name], this.#sink(rank, name), label);
    });
  }

  /** Tells an event, where they are wanted. */
  event(event: JobEvent | ({ readonly type: 'result' } & JobResult)): void {
    if (this.#options.json !== true) return;
    const failure = 'failure' in event && event.failure ? { failure: plain(event.failure) } : {};
    void this.#writeJson({ ...event, ...failure });
  }

  /** Resolves when all has left this process. */
  async flush(): Promise<void> {
    const { stdout, stderr } = this.#streams;
    for (const file of this.#files) file.end();
    await Promise.all([
      stdout.flush(),
      stderr.flush(),
      // One that broke has been told of already.
      ...this.#files.map((file) => finished(file).catch(() => {})),
    ]);
  }

  /** Lets go of the streams, which stay open; what was not flushed to files is given up. */
  close(): void {
    for (const outlet of this.#fileOutlets) outlet.close();
    for (const file of this.#files) file.destroy();
    this.#streams.stdout.close();
    this.#streams.stderr.close();
  }

  get #isLabelled(): boolean {
    const { label = true, json = false, outputDir } = this.#options;
    return label && !json && outputDir === undefined;
  }

  #sink(rank: number, stream: StreamName): Sink {
    const { outputDir, json } = this.#options;
    if (outputDir !== undefined) {
      const file = createWriteStream(join(outputDir, `rank-${rank}.${EXTENSION[stream]}`));
      const outlet = new Outlet(file, this.#onBroken);
      this.#files.push(file);
      this.#fileOutlets.push(outlet);
      return outlet;
    }
    if (json !== true) return this.#streams[stream];
    return {
      write: (bytes) => this.#writeJson({ type: 'output', rank, stream, text: bytes.toString() }),
    };
  }

  #writeJson(value: object): Promise<void> {
    return this.#streams.stdout.write(Buffer.from(`${JSON.stringify(value)}\n`));
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new JobError(
      'ERR_JOB_OUTPUT_DIR',
      `there can be no folder ${folder} for the ranks' output: ${(cause as Error).message}`,
      { call: 'runJob', operands: { outputDir: folder }, cause },
    );
  }
}
