/** The process whose threads are ranks: started by a ThreadPlace, which tells it by messages what to run. */
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';

import { streamDescriptor, type FromHost, type ToHost } from './thread-messages.js';

const workers = new Map<number, Worker>();

/** Carries a thread's output to the launcher, to its end. */
function carry(output: Readable, fd: number): Socket {
  const stream = new Socket({ fd });
  // The launcher takes no more; what the rank writes then goes nowhere.
  stream.on('error', () => output.resume());
  return output.pipe(stream);
}

function run(start: Extract<ToHost, { type: 'start' }>): void {
  const { rank, script, args, env, stdin } = start;
  const worker = new Worker(script, {
    argv: [...args],
    env: { ...env },
    stdin,
    stdout: true,
    stderr: true,
    name: `rank ${rank}`,
  });
  workers.set(rank, worker);
  const stderr = carry(worker.stderr, streamDescriptor(rank, 'stderr'));
  const written = [carry(worker.stdout, streamDescriptor(rank, 'stdout')), stderr].map(
    (stream) => new Promise((resolve) => stream.once('close', resolve)),
  );
  if (worker.stdin !== null) process.stdin.pipe(worker.stdin);
  worker.on('error', (error: unknown) => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    stderr.write(`${text}\n`);
  });
  worker.on('exit', (exitCode) => {
    workers.delete(rank);
    if (stdin) process.stdin.destroy();
    // Not before all that it wrote, which ends by itself now.
    void Promise.all(written).then(() => process.send?.({ rank, exitCode } satisfies FromHost));
  });
}

process.on('message', (message: ToHost) => {
  switch (message.type) {
    case 'start':
      run(message);
      break;
    case 'end':
      void workers.get(message.rank)?.terminate();
      break;
  }
});
