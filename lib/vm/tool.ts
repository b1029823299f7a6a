/** Runs a program of the host that the preparation of a machine needs. */
import { spawn } from 'node:child_process';

import { VmError } from './errors.js';

export interface ToolOptions {
  readonly cwd?: string;
  readonly stdin?: Uint8Array;
  /** What to do when it fails; put behind what it said. */
  readonly remedy: string;
  /** The Debian package that has it. */
  readonly package: string;
  readonly signal?: AbortSignal | undefined;
}

const LAST_WORDS_CHARACTERS = 2000;

/**
 * Resolves to standard output when it exits with 0.
 *
 * @throws VmError `ERR_VM_TOOL` with what it said on standard error; the signal's reason.
 */
export async function runTool(
  program: string,
  args: readonly string[],
  options: ToolOptions,
): Promise<Buffer> {
  options.signal?.throwIfAborted();
  const child = spawn(program, args, {
    cwd: options.cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: options.signal,
    killSignal: 'SIGKILL',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const output: Buffer[] = [];
  let words = '';
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-LAST_WORDS_CHARACTERS);
  });
  // A program that ends before it has read its input says more by its status.
  child.stdin.on('error', () => {});
  child.stdin.end(options.stdin ?? '');
  const status = await new Promise<string | number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal ?? code));
  }).catch((cause: unknown) => {
    options.signal?.throwIfAborted();
    throw new VmError(
      'ERR_VM_TOOL',
      `${program} could not be run; on Debian and Ubuntu install it with \`apt-get install ${options.package}\``,
      { call: program, operands: { args }, cause },
    );
  });
  if (status === 0) return Buffer.concat(output);
  throw new VmError(
    'ERR_VM_TOOL',
    `${program} ${args.join(' ')} failed (${status}); ${options.remedy}` +
      (words.trim() === '' ? '' : `\n${words.trim()}`),
    { call: program, operands: { args, status } },
  );
}
