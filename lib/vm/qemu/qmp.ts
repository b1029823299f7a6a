/** QEMU's machine protocol (docs/interop/qmp-spec): one JSON object a line, each way. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

import { addon } from '../../addon/index.js';
import { Deferred } from '../deferred.js';
import { descriptorOf } from '../socket-handle.js';

interface NativeDescriptors {
  /** 0 or an errno. */
  sendWithDescriptor(socket: number, text: string, descriptor: number): number;
}

/** What a command returned; which fields it has, the command's documentation says. */
export type QmpResult = Readonly<Record<string, unknown>>;

interface Reply {
  readonly QMP?: unknown;
  readonly event?: string;
  readonly data?: QmpResult;
  readonly id?: number;
  readonly return?: QmpResult;
  readonly error?: { readonly class: string; readonly desc: string };
}

/** A command that QEMU refused. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
  readonly command: string;

  constructor(command: string, description: string) {
    super(`${command}: ${description}`);
    this.command = command;
  }
}

/** QEMU's answers are short; more without an end of line is not QEMU. */
const LIMIT_CHARACTERS = 16 * 2 ** 20;

export class QmpClient extends EventEmitter<Record<string, [data: QmpResult]>> {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { command: string; reply: Deferred<QmpResult> }>();
  readonly #greeted = new Deferred<void>();
  #lastId = 0;
  #unfinished = '';
  #lost: Error | undefined;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    socket.on('error', () => {});
    socket.on('close', () => this.#lose(new Error('QEMU closed its monitor')));
  }

  /** Leaves the mode in which QEMU takes no command. */
  async negotiate(): Promise<void> {
    await this.#greeted.promise;
    await this.execute('qmp_capabilities');
  }

  /** @throws QmpError when QEMU refuses; an error when it is gone. */
  execute(command: string, args: QmpResult = {}): Promise<QmpResult> {
    return this.#send(command, args, (text) => {
      this.#socket.write(text);
    });
  }

  /** Gives QEMU a copy of an open descriptor under a name, which commands then take as `fd:NAME`. */
  giveDescriptor(name: string, descriptor: number): Promise<QmpResult> {
    return this.#send('getfd', { fdname: name }, (text) => {
      const errno = (addon() as NativeDescriptors).sendWithDescriptor(
        descriptorOf(this.#socket),
        text,
        descriptor,
      );
      if (errno !== 0) throw new QmpError('getfd', `the descriptor can't be sent (errno ${errno})`);
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#lose(new Error('the monitor is closed'));
  }

  async #send(command: string, args: QmpResult, write: (text: string) => void): Promise<QmpResult> {
    if (this.#lost !== undefined) throw this.#lost;
    const id = (this.#lastId += 1);
    const reply = new Deferred<QmpResult>();
    this.#waiting.set(id, { command, reply });
    write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    return reply.promise;
  }

  #take(text: string): void {
    const lines = (this.#unfinished + text).split('\n');
    this.#unfinished = lines.pop() ?? '';
    try {
      if (this.#unfinished.length > LIMIT_CHARACTERS) throw new Error('a line without end');
      for (const line of lines) if (line.trim() !== '') this.#obey(JSON.parse(line) as Reply);
    } catch (cause) {
      this.#lose(new Error('QEMU’s monitor says what QEMU does not say', { cause }));
      this.#socket.destroy();
    }
  }

  #obey(reply: Reply): void {
    if (reply.QMP !== undefined) this.#greeted.resolve();
    else if (reply.event !== undefined) this.emit(reply.event, reply.data ?? {});
    else if (reply.id !== undefined) this.#settle(reply.id, reply);
  }

  #settle(id: number, { return: result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.reply.resolve(result ?? {});
    else waiting?.reply.reject(new QmpError(waiting.command, error.desc));
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#greeted.reject(this.#lost);
    for (const { reply } of this.#waiting.values()) reply.reject(this.#lost);
    this.#waiting.clear();
  }
}
