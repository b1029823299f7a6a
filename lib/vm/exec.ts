/** Runs a command in a guest to its end and collects its output. */
import { VmError } from './errors.js';
import type { GuestExit, GuestProcess, SpawnOptions } from './guest-process.js';

/** What a command gets and how its output is collected. */
export interface ExecOptions extends SpawnOptions {
  /** Standard input, empty by default. */
  readonly stdin?: string | Uint8Array;
  /** Takes standard output as it comes; the result's `stdout` is then empty. */
  readonly onStdout?: (chunk: Buffer) => void;
  /** Takes standard error as it comes; the result's `stderr` is then empty. */
  readonly onStderr?: (chunk: Buffer) => void;
  /** How text of the result is decoded; `'latin1'` keeps each byte. `'utf8'` by default. */
  readonly encoding?: BufferEncoding;
  /** At most so much is collected of either stream; 64 MiB by default. */
  readonly maxOutputBytes?: number;
}

/** How a command ended, and what it wrote. */
export interface ExecResult extends GuestExit {
  /** All of its standard output as text; empty if `onStdout` took it. */
  readonly stdout: string;
  /** All of its standard error as text; empty if `onStderr` took it. */
  readonly stderr: string;
}

const DEFAULT_MAX_OUTPUT_BYTES = 64 * 2 ** 20;

/** Chunks of one stream, up to the limit. */
class Collector {
  readonly #chunks: Buffer[] = [];
  readonly #limitBytes: number;
  readonly #onTooMuch: () => void;
  #byteLength = 0;

  constructor(limitBytes: number, onTooMuch: () => void) {
    this.#limitBytes = limitBytes;
    this.#onTooMuch = onTooMuch;
  }

  readonly take = (chunk: Buffer): void => {
    this.#byteLength += chunk.byteLength;
    if (this.#byteLength > this.#limitBytes) this.#onTooMuch();
    else this.#chunks.push(chunk);
  };

  text(encoding: BufferEncoding): string {
    return Buffer.concat(this.#chunks).toString(encoding);
  }
}

export async function collect(
  vm: string,
  command: string,
  guestProcess: GuestProcess,
  options: ExecOptions,
): Promise<ExecResult> {
  const { maxOutputBytes = DEFAULT_MAX_OUTPUT_BYTES, encoding = 'utf8' } = options;
  const onTooMuch = (): void => {
    guestProcess.kill('SIGKILL');
    guestProcess.fail(
      new VmError(
        'ERR_VM_OUTPUT',
        `${command} wrote more than ${maxOutputBytes} bytes and was killed; ` +
          'take them by onStdout and onStderr, or raise maxOutputBytes',
        { vm, call: 'vm.exec', operands: { command, maxOutputBytes } },
      ),
    );
  };
  const stdout = new Collector(maxOutputBytes, onTooMuch);
  const stderr = new Collector(maxOutputBytes, onTooMuch);
  guestProcess.stdout.on('data', options.onStdout ?? stdout.take);
  guestProcess.stderr.on('data', options.onStderr ?? stderr.take);
  // A command need not read its input; its exit status says whether that was right.
  guestProcess.stdin.on('error', () => {});
  guestProcess.stdin.end(options.stdin ?? '');
  const drained = [ended(guestProcess.stdout), ended(guestProcess.stderr)];
  const exit = await guestProcess.exited;
  await Promise.all(drained);
  return { ...exit, stdout: stdout.text(encoding), stderr: stderr.text(encoding) };
}

function ended(stream: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve) => {
    stream.once('end', resolve).once('close', resolve);
  });
}
