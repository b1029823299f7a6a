/** The host's side of the control channel: matches what the guest agent says with what was asked. */
import { randomInt } from 'node:crypto';
import type { Duplex } from 'node:stream';

import { Deferred } from './deferred.js';
import { VmError } from './errors.js';
import { GuestProcess, type SpawnOptions } from './guest-process.js';
import { LineWriter } from './line-writer.js';
import {
  encodeFrame,
  encodeHello,
  FrameDecoder,
  FrameError,
  FRAME,
  type FrameType,
  INITIAL_WINDOW_BYTES,
  MAX_PAYLOAD_BYTES,
  parseHello,
  PayloadReader,
  PayloadWriter,
  PROTOCOL_VERSION,
  type AgentHello,
  type Frame,
  type RunningCommand,
} from './protocol.js';

/** What a command is, for the agent. */
export interface ExecRequest {
  readonly root: string;
  readonly cwd: string;
  /** Program first. */
  readonly command: readonly string[];
  /** NAME=value */
  readonly environment: readonly string[];
}

export interface AgentOptions {
  /** The machine's name. */
  readonly vm: string;
  /** An agent that says nothing for that long, asked repeatedly, is lost. */
  readonly silenceTimeoutMs: number;
  /** How much the channel holds that the agent has not read. */
  readonly lineWindowBytes: number;
  /** The agent runs already, for a former host of the machine: this one takes over when it resumes. */
  readonly takesOver?: boolean;
  /** The agent is lost: it is silent, or speaks what no agent speaks. */
  readonly onLost: (code: string, message: string, cause?: unknown) => void;
}

/** Waits for what arrives on one stream. */
interface Receiver {
  /** True if no more will come. */
  receive(frame: Frame): boolean;
  fail(error: unknown): void;
}

const PINGS_UNTIL_SILENT = 10;
const NOTHING = Buffer.alloc(0);
/** The agent's own program in the guest's first file system, which also packs and unpacks files. */
export const AGENT_PROGRAM = '/init';
/** Where the agent mounts the host's file system. */
export const HOST_ROOT = '/host';

export class AgentClient {
  /** Resolves when the agent has greeted and was greeted. */
  readonly ready: Promise<AgentHello>;

  readonly #channel: Duplex;
  readonly #line: LineWriter;
  readonly #options: AgentOptions;
  readonly #decoder: FrameDecoder;
  readonly #session: number;
  readonly #greeting = new Deferred<AgentHello>();
  readonly #receivers = new Map<number, Receiver>();
  #greeted = false;
  #lastStream = 0;
  #lost: VmError | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #resting = false;
  #isSilenceFine = false;
  #unansweredPings = 0;
  /** What waits for `wake`. */
  readonly #delayed: Buffer[] = [];

  constructor(channel: Duplex, options: AgentOptions) {
    this.#channel = channel;
    this.#line = new LineWriter(options.lineWindowBytes, (bytes) => channel.write(bytes));
    this.#options = options;
    this.#session = randomInt(1, 2 ** 32);
    this.#decoder = new FrameDecoder(options.takesOver === true ? this.#session : undefined);
    this.ready = this.#greeting.promise;
    channel.on('data', (bytes: Buffer) => this.#take(bytes));
    // The machine's end is what counts, and its guard tells that.
    channel.on('error', () => {});
  }

  /** Commands that a former host of the machine started, by their streams; known once `ready` has resolved. */
  readonly adopted: GuestProcess[] = [];

  /** Greets an agent that greeted a former host; nothing else is sent before it answers. */
  takeOver(): void {
    // Around the line's window, which begins with the answer.
    this.#channel.write(this.#greetingOfHost());
  }

  /**
   * Resolves when the agent has read all that was sent; nothing more is on its way to it, and silence is no sign of
   * anything, until `wake`.
   */
  async rest(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    const answer = new Deferred<void>();
    const stream = this.#nextStream();
    this.#receivers.set(stream, { receive: () => (answer.resolve(), true), fail: answer.reject });
    this.#send(FRAME.ping, stream, NOTHING);
    this.#resting = true;
    await answer.promise;
    this.#isSilenceFine = true;
  }

  /** What was said meanwhile is sent. */
  wake(): void {
    this.#resting = false;
    this.#isSilenceFine = false;
    this.#unansweredPings = 0;
    for (const frame of this.#delayed.splice(0)) this.#line.write(frame);
  }

  /** Starts a command; never throws, its failure is in the result's promises. */
  spawn(request: ExecRequest, options: SpawnOptions): GuestProcess {
    const stream = this.#nextStream();
    const [program = ''] = request.command;
    const send = (type: FrameType, payload: Uint8Array): void => this.#send(type, stream, payload);
    const guestProcess = new GuestProcess(this.#options.vm, program, send, options);
    const payload = new PayloadWriter()
      .text(request.root)
      .text(request.cwd)
      .list(request.command)
      .list(request.environment)
      .bytes();
    if (options.signal?.aborted === true) {
      guestProcess.fail(options.signal.reason);
    } else if (payload.byteLength > MAX_PAYLOAD_BYTES) {
      guestProcess.fail(
        new VmError(
          'ERR_VM_ARGUMENT',
          `the arguments and environment of ${program} take ${payload.byteLength} bytes; ` +
            `at most ${MAX_PAYLOAD_BYTES} fit, so pass large data by stdin`,
          { vm: this.#options.vm, call: 'vm.exec', operands: { byteLength: payload.byteLength } },
        ),
      );
    } else if (this.#lost !== undefined) {
      guestProcess.fail(this.#lost);
    } else {
      this.#receivers.set(stream, guestProcess);
      this.#send(FRAME.exec, stream, payload);
    }
    return guestProcess;
  }

  /** Sends a request that is answered by one frame of type `answer`, and gives its payload. */
  request(
    type: FrameType,
    payload: Uint8Array,
    answer: FrameType,
    describeFailure: (errno: number, step: string) => VmError,
  ): Promise<Buffer> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const stream = this.#nextStream();
    const { promise, resolve, reject } = new Deferred<Buffer>();
    this.#receivers.set(stream, {
      receive: (frame) => {
        if (frame.type === FRAME.failed) {
          const reader = new PayloadReader(frame.payload);
          reject(describeFailure(reader.u32(), reader.text()));
        } else if (frame.type === answer) {
          resolve(frame.payload);
        } else {
          throw new FrameError(`a frame of type ${frame.type} answers no request of type ${type}`);
        }
        return true;
      },
      fail: reject,
    });
    this.#send(type, stream, payload);
    return promise;
  }

  /** Asks the guest to end its processes within `graceMs` and to power off. Nothing answers. */
  powerOff(graceMs: number): void {
    this.#send(FRAME.powerOff, 0, new PayloadWriter().u32(graceMs).bytes());
  }

  /** The machine has ended: all that waits for it fails with `error`. */
  close(error: VmError): void {
    this.#lost ??= error;
    clearInterval(this.#heartbeat);
    this.#channel.destroy();
    this.#greeting.reject(this.#lost);
    for (const receiver of this.#receivers.values()) receiver.fail(this.#lost);
    this.#receivers.clear();
  }

  #nextStream(): number {
    this.#lastStream = (this.#lastStream % 0xffff_ffff) + 1;
    return this.#lastStream;
  }

  #send(type: FrameType, stream: number, payload: Uint8Array): void {
    if (this.#lost !== undefined) return;
    const frame = encodeFrame(type, stream, payload);
    if (this.#resting) this.#delayed.push(frame);
    else this.#line.write(frame);
  }

  #take(bytes: Buffer): void {
    if (this.#lost !== undefined) return;
    this.#unansweredPings = 0;
    try {
      for (const frame of this.#decoder.decode(bytes)) this.#obey(frame);
    } catch (cause) {
      if (!(cause instanceof FrameError)) throw cause;
      this.#options.onLost(
        'ERR_VM_PROTOCOL',
        `its agent breaks the protocol: ${cause.message}`,
        cause,
      );
    }
  }

  #obey(frame: Frame): void {
    if (!this.#greeted) {
      this.#greet(frame);
      return;
    }
    if (frame.type === FRAME.received) {
      this.#line.acknowledge(new PayloadReader(frame.payload).u32());
      return;
    }
    // Frames cross: what answers a stream that has just ended is of no interest.
    const receiver = this.#receivers.get(frame.stream);
    if (receiver?.receive(frame) === true) this.#receivers.delete(frame.stream);
  }

  #greet(frame: Frame): void {
    if (frame.type !== FRAME.hello) throw new FrameError('it does not start with a greeting');
    const hello = parseHello(frame.payload);
    if (hello.version !== PROTOCOL_VERSION) {
      throw new FrameError(
        `it speaks version ${hello.version}, not ${PROTOCOL_VERSION}; rebuild with \`npm rebuild viaduct\``,
      );
    }
    this.#greeted = true;
    if (this.#options.takesOver === true) this.#adopt(hello.commands);
    else this.#line.write(this.#greetingOfHost());
    const intervalMs = Math.ceil(this.#options.silenceTimeoutMs / PINGS_UNTIL_SILENT);
    this.#heartbeat = setInterval(() => this.#ping(), intervalMs).unref();
    this.#greeting.resolve(hello);
  }

  #greetingOfHost(): Buffer {
    return encodeFrame(FRAME.hello, this.#session, encodeHello(this.#options.vm));
  }

  #adopt(commands: readonly RunningCommand[]): void {
    for (const command of commands) {
      if (command.pendingInputBytes > INITIAL_WINDOW_BYTES || this.#receivers.has(command.stream)) {
        throw new FrameError('it lists a command that can’t be');
      }
      this.#lastStream = Math.max(this.#lastStream, command.stream);
      const { stream, pid } = command;
      const send = (type: FrameType, payload: Uint8Array): void =>
        this.#send(type, stream, payload);
      const guestProcess = new GuestProcess(this.#options.vm, `process ${pid}`, send, {}, command);
      this.#receivers.set(stream, guestProcess);
      this.adopted.push(guestProcess);
    }
  }

  // Turns of this process's event loop are counted, not time: a process that was itself suspended, or busy, can't
  // tell how long the agent was silent.
  #ping(): void {
    if (this.#isSilenceFine) return;
    if (this.#unansweredPings >= PINGS_UNTIL_SILENT) {
      const { silenceTimeoutMs } = this.#options;
      this.#options.onLost(
        'ERR_VM_SILENT',
        `its agent has not answered for ${silenceTimeoutMs} ms; ` +
          'the guest hangs, or the host is too busy to run it (raise silenceTimeoutMs)',
      );
      return;
    }
    this.#unansweredPings += 1;
    // While it is to rest, one ping has been sent already.
    if (!this.#resting) this.#send(FRAME.ping, 0, NOTHING);
  }
}
