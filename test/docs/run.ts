/** Runs programs to their end, two at a time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Runs node with these arguments. */
export async function runNode(args: readonly string[], cwd: string): Promise<Outcome> {
  const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const [[status, signal], stdout, stderr] = await Promise.all([
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
    text(child.stdout),
    text(child.stderr),
  ]);
  return { stdout, stderr, status, signal };
}

/** Starts the work of each item, in order, at most `most` at a time; returns a promise for each. */
export function inTurn<T, R>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<R>,
): Promise<R>[] {
  const promises: Promise<R>[] = [];
  items.forEach((item, index) => {
    // An earlier one of the same lane must be over.
    const before = promises[index - most] ?? Promise.resolve();
    promises.push(
      before.then(
        () => work(item),
        () => work(item),
      ),
    );
  });
  // Who asks for a later one first has not seen an earlier one fail.
  for (const promise of promises) promise.catch(() => {});
  return promises;
}
