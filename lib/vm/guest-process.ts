/** A command that runs in a guest: like a ChildProcess, its streams go over the agent's channel. */
import { constants } from 'node:os';
import { Readable, Writable } from 'node:stream';

import { Deferred } from './deferred.js';
import { VmError } from './errors.js';
import {
  FrameError,
  FRAME,
  type FrameType,
  INITIAL_WINDOW_BYTES,
  PayloadReader,
  PayloadWriter,
  type Frame,
  type RunningCommand,
} from './protocol.js';

/** How a command ended: one of the two is null, as in Node's `exit` event. */
export interface GuestExit {
  /** 0 to 255; null if a signal ended it. */
  readonly exitCode: number | null;
  /** Null if it ended by its own exit. */
  readonly signal: NodeJS.Signals | null;
}

/** What a command is told, and for how long. */
export interface SpawnOptions {
  /** Working directory, absolute; `/` by default. */
  readonly cwd?: string;
  /** Added to PATH and HOME, which every command has. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds after which the command is killed; no limit by default. */
  readonly timeoutMs?: number;
  /** The command is killed when this aborts. */
  readonly signal?: AbortSignal;
}

/** Sends a frame of the command's stream. */
export type SendFrame = (type: FrameType, payload: Uint8Array) => void;

const MAX_CHUNK_BYTES = 1 << 16;
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

/** Standard output or error: grants the guest more as its reader takes what is there. */
class GuestOutput extends Readable {
  readonly #grant: (byteLength: number) => void;
  #windowBytes = INITIAL_WINDOW_BYTES;
  #takenBytes = 0;

  constructor(grant: (byteLength: number) => void) {
    super({ highWaterMark: INITIAL_WINDOW_BYTES / 2 });
    this.#grant = grant;
  }

  /** @throws FrameError when the guest sends more than was granted. */
  receive(payload: Buffer): void {
    if (payload.byteLength === 0) {
      this.push(null);
      return;
    }
    this.#windowBytes -= payload.byteLength;
    if (this.#windowBytes < 0) throw new FrameError('it sends more output than was granted');
    this.#takenBytes += payload.byteLength;
    // A reader that has gone away takes all: the command must not wait for it.
    if (this.destroyed) this._read();
    else this.push(payload);
  }

  end(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }

  override _read(): void {
    if (this.#takenBytes < INITIAL_WINDOW_BYTES / 4) return;
    const byteLength = this.#takenBytes;
    this.#takenBytes = 0;
    this.#windowBytes += byteLength;
    this.#grant(byteLength);
  }
}

/** Standard input: sends no more than the guest has granted. */
class GuestInput extends Writable {
  readonly #send: SendFrame;
  #windowBytes = INITIAL_WINDOW_BYTES;
  #waiting: (() => void) | undefined;

  /** @param pendingBytes what of the window is already taken */
  constructor(send: SendFrame, pendingBytes: number) {
    super({ highWaterMark: MAX_CHUNK_BYTES });
    this.#send = send;
    this.#windowBytes = INITIAL_WINDOW_BYTES - pendingBytes;
  }

  grant(byteLength: number): void {
    this.#windowBytes += byteLength;
    if (this.#windowBytes > INITIAL_WINDOW_BYTES) {
      throw new FrameError('it grants more input than there was');
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  /** The command closed its standard input, or ended. */
  refuse(): void {
    if (this.destroyed || this.writableFinished) return;
    const error: NodeJS.ErrnoException = new Error('write EPIPE: the command reads no more input');
    error.code = 'EPIPE';
    error.errno = -constants.errno.EPIPE;
    error.syscall = 'write';
    // Only who has something to write needs to know.
    this.destroy(this.writableLength > 0 ? error : undefined);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#sendFrom(chunk, 0, done);
  }

  #sendFrom(chunk: Buffer, start: number, done: () => void): void {
    let at = start;
    while (at < chunk.byteLength) {
      const byteLength = Math.min(chunk.byteLength - at, MAX_CHUNK_BYTES, this.#windowBytes);
      if (byteLength === 0) {
        this.#waiting = () => this.#sendFrom(chunk, at, done);
        return;
      }
      this.#windowBytes -= byteLength;
      this.#send(FRAME.input, chunk.subarray(at, at + byteLength));
      at += byteLength;
    }
    done();
  }

  override _final(done: () => void): void {
    this.#send(FRAME.input, Buffer.alloc(0));
    done();
  }
}

/**
 * A command in a guest. Made by `VirtualMachine.spawn`.
 *
 * ```ts
 * import { VirtualMachine } from 'viaduct/vm';
 *
 * await using vm = await VirtualMachine.boot();
 * const sort = vm.spawn('sort', ['-n'], { timeoutMs: 60_000 });
 * sort.stdin.end('10\n9\n');
 * for await (const chunk of sort.stdout) process.stdout.write(chunk);
 * const { exitCode } = await sort.exited;
 * console.log(exitCode);
 * // prints 9
 * // prints 10
 * // prints 0
 * ```
 */
export class GuestProcess {
  /** What is written here the command reads; end it, or the command waits for more. */
  readonly stdin: Writable;
  /** What the command writes. While nobody reads it, the command is held up after some 256 KiB. */
  readonly stdout: Readable;
  /** The same of its standard error. */
  readonly stderr: Readable;
  /** The command's process number in the guest; rejects if it could not be started. */
  readonly started: Promise<number>;
  /**
   * Resolves when the command has ended and all of its output is in the streams. Rejects with a VmError when it could
   * not be started (`ERR_VM_EXEC`), took too long (`ERR_VM_EXEC_TIMEOUT`) or lost its machine, and with the
   * signal's reason when that aborted.
   */
  readonly exited: Promise<GuestExit>;

  readonly #vm: string;
  readonly #command: string;
  readonly #send: SendFrame;
  readonly #input: GuestInput;
  readonly #output: GuestOutput;
  readonly #error: GuestOutput;
  readonly #start = new Deferred<number>();
  readonly #exit = new Deferred<GuestExit>();
  #ended = false;
  #release = (): void => {};

  /**
   * @internal Of this layer only: the agent client has sent, or will send, the request on the same stream; or a former host
   * did, and `running` says what the agent has of it.
   */
  constructor(
    vm: string,
    command: string,
    send: SendFrame,
    options: SpawnOptions,
    running?: RunningCommand,
  ) {
    this.#vm = vm;
    this.#command = command;
    this.#send = (type, payload) => {
      if (!this.#ended) send(type, payload);
    };
    this.stdin = this.#input = new GuestInput(this.#send, running?.pendingInputBytes ?? 0);
    this.stdout = this.#output = new GuestOutput(this.#granting(FRAME.output));
    this.stderr = this.#error = new GuestOutput(this.#granting(FRAME.error));
    this.started = this.#start.promise;
    this.exited = this.#exit.promise;
    if (running !== undefined) this.#start.resolve(running.pid);
    this.#limit(options);
  }

  /** Sends a signal to the command's process group. Harmless when it has ended. */
  kill(signal: NodeJS.Signals | number = 'SIGTERM'): void {
    const number = typeof signal === 'number' ? signal : constants.signals[signal];
    this.#send(FRAME.signal, new PayloadWriter().u32(number).bytes());
  }

  /**
   * Takes a frame of this command's stream; true if it was the last.
   *
   * @throws FrameError when no agent would send it.
   *
   * @internal
   */
  receive(frame: Frame): boolean {
    const reader = new PayloadReader(frame.payload);
    switch (frame.type) {
      case FRAME.started:
        this.#start.resolve(reader.u32());
        return false;
      case FRAME.output:
        this.#output.receive(frame.payload);
        return false;
      case FRAME.error:
        this.#error.receive(frame.payload);
        return false;
      case FRAME.input:
        this.#input.refuse();
        return false;
      case FRAME.window:
        if (reader.u8() !== FRAME.input) throw new FrameError('it grants what is not input');
        this.#input.grant(reader.u32());
        return false;
      case FRAME.exited: {
        const exitCode = reader.u32();
        const signal = reader.u32();
        this.#finish();
        this.#exit.resolve(
          signal === 0
            ? { exitCode, signal: null }
            : { exitCode: null, signal: signalName(signal) },
        );
        return true;
      }
      case FRAME.failed: {
        const errno = reader.u32();
        this.fail(this.#startFailure(errno, reader.text()));
        return true;
      }
      default:
        throw new FrameError(`a frame of type ${frame.type} answers no command`);
    }
  }

  /** @internal The command is lost, or its caller waits no more. */
  fail(error: unknown): void {
    this.#finish();
    this.#start.reject(error);
    this.#exit.reject(error);
  }

  #granting(which: FrameType): (byteLength: number) => void {
    return (byteLength) =>
      this.#send(FRAME.window, new PayloadWriter().u8(which).u32(byteLength).bytes());
  }

  #finish(): void {
    this.#ended = true;
    this.#release();
    this.#input.refuse();
    this.#output.end();
    this.#error.end();
  }

  #limit({ timeoutMs, signal }: SpawnOptions): void {
    const giveUp = (reason: unknown): void => {
      this.kill('SIGKILL');
      this.fail(reason);
    };
    const onAbort = (): void => giveUp(signal?.reason);
    const onTimeout = (): void =>
      giveUp(
        new VmError(
          'ERR_VM_EXEC_TIMEOUT',
          `${this.#command} did not end within ${timeoutMs} ms and was killed; give it a longer timeoutMs`,
          { vm: this.#vm, call: 'vm.exec', operands: { command: this.#command, timeoutMs } },
        ),
      );
    const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#release = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
  }

  #startFailure(errno: number, step: string): VmError {
    const [name = `errno ${errno}`] =
      Object.entries(constants.errno).find(([, number]) => number === errno) ?? [];
    const remedies: Readonly<Record<string, string>> = {
      exec: 'the guest has the host’s files, or only the `programs` it was booted with: check that this is there, in PATH or at that path',
      chdir: 'its cwd must be a directory that the host has; /dev and /proc are the guest’s own',
      fork: 'the guest has no memory or process left: give it more memoryBytes',
    };
    return new VmError(
      'ERR_VM_EXEC',
      `${this.#command} could not be started: ${step}: ${name}` +
        (remedies[step] === undefined ? '' : `; ${remedies[step]}`),
      { vm: this.#vm, call: 'vm.exec', operands: { command: this.#command, step }, errno },
    );
  }
}

function signalName(number: number): NodeJS.Signals {
  // A real-time signal has no name in Node.js; its type knows none either.
  return (SIGNAL_NAMES.get(number) ?? `SIG${number}`) as NodeJS.Signals;
}
