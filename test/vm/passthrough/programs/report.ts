/** What the programs in the guest share: results as lines of JSON, and errors as results. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { uptime } from 'node:os';
import { createInterface } from 'node:readline';

import { PassthroughError } from '../../../../lib/vm/passthrough/index.js';

export function report(name: string, result: object): void {
  console.log(JSON.stringify({ name, uptimeSeconds: uptime(), ...result }));
}

/** What went wrong with it, or `{ value }`. */
export async function attempt(action: () => Promise<unknown>): Promise<object> {
  try {
    return { value: await action() };
  } catch (error) {
    if (!(error instanceof PassthroughError)) return { unexpected: String(error) };
    const { code, message, findings } = error;
    return { code, message, problems: findings.map(({ problem }) => problem) };
  }
}

/** Runs each step in its turn, and goes on with the next when one fails. */
export async function runSteps(
  steps: Readonly<Record<string, () => Promise<object>>>,
): Promise<void> {
  for (const [name, step] of Object.entries(steps)) {
    try {
      report(name, await step());
    } catch (error) {
      report(name, { unexpected: error instanceof Error ? error.stack : String(error) });
    }
  }
  report('done', {});
  // A step that failed may have left a child that would be waited for.
  process.exit();
}

/** A process that says lines of JSON. */
export class Talker {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<unknown>;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#closed = once(this.child, 'close');
    this.#lines = createInterface(this.child.stdout!)[Symbol.asyncIterator]();
  }

  /** What it says next, after a line of input if there is one. */
  async ask(line?: string): Promise<Readonly<Record<string, unknown>>> {
    if (line !== undefined) this.child.stdin!.write(`${line}\n`);
    const { done, value } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    if (done === true) throw new Error(`${this.child.spawnfile} ended and said no more`);
    return JSON.parse(value) as Record<string, unknown>;
  }

  /** Closes its input and waits until it has ended. */
  async end(): Promise<void> {
    this.child.stdin!.end();
    await this.#closed;
  }
}
