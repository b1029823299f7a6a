/** Runs a program to its end, hands each line of its output on, and keeps the end of its error output. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { builtExecutable } from '../lib/addon/index.js';

export interface LinesOptions {
  readonly signal: AbortSignal;
  readonly env?: NodeJS.ProcessEnv;
  readonly onLine: (line: string) => void;
}

const keptCharacters = 4000;

/**
 * @throws Error that names the program, how it ended and what it said last, unless it ends with status 0;
 *   the abort reason when the signal ends it; whatever `onLine` throws, once the program is stopped
 */
export async function runLines(
  what: string,
  command: string,
  args: readonly string[],
  { signal, env, onLine }: LinesOptions,
): Promise<void> {
  signal.throwIfAborted();
  // However the benchmark ends, what it measured must not go on and take the cores.
  const guard = ['--parent', String(process.pid), '--', command, ...args];
  const child = spawn(builtExecutable('viaduct-guard'), guard, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: env ?? process.env,
  });
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  signal.addEventListener('abort', stop, { once: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-keptCharacters);
  });
  let refused: Error | undefined;
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    if (refused !== undefined) return;
    try {
      onLine(line);
    } catch (error) {
      refused = error instanceof Error ? error : new Error(String(error));
      stop();
    }
  });
  try {
    const ended = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signalName) => {
        resolve(signalName ? `was ended by ${signalName}` : `ended with status ${status}`);
      });
    });
    signal.throwIfAborted();
    if (refused !== undefined) throw refused;
    if (ended !== 'ended with status 0') {
      throw new Error(`${what} ${ended}${said.trim() === '' ? '' : `:\n${said.trim()}`}`);
    }
  } finally {
    signal.removeEventListener('abort', stop);
    lines.close();
  }
}
