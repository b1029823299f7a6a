/**
 * A machine moves over a Unix socket: the source sends the header of the state, the destination says that it has
 * a machine for it, QEMU on both ends moves the state, and the destination says that the machine runs there. If the
 * destination closes the socket before that, it has given the machine up and the source goes on with it.
 */
import { rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';

import { VmError } from './errors.js';
import { decodeState, STATE_HEADER_BYTES, type MachineState } from './machine-state.js';
import { descriptorOf, stopReading } from './socket-handle.js';
import { assertSocketPath } from './socket-path.js';

const READY = 'ready\n';
const ARRIVED = 'arrived\n';
const LIMIT_CHARACTERS = 4096;

function migrationError(path: string, why: string, cause?: unknown): VmError {
  return new VmError('ERR_VM_MIGRATION', `migration by ${path} failed: ${why}`, {
    operands: { path },
    cause,
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The destination, as the source sees it. */
export class MigrationTarget {
  readonly #socket: Socket;
  readonly #path: string;
  #said = '';
  #closed = false;
  #wake = (): void => {};

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-LIMIT_CHARACTERS);
      this.#wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** @throws VmError `ERR_VM_MIGRATION` when nobody waits there */
  static async connect(path: string, vm: string): Promise<MigrationTarget> {
    assertSocketPath(path, 'vm.migrate');
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
    }).catch((cause: unknown) => {
      throw new VmError(
        'ERR_VM_MIGRATION',
        `nobody waits for it at ${path}: ${messageOf(cause)}; start VirtualMachine.receive there first`,
        { vm, call: 'vm.migrate', operands: { path }, cause },
      );
    });
    return new MigrationTarget(socket, path);
  }

  get descriptor(): number {
    return descriptorOf(this.#socket);
  }

  /** Sends the header; resolves when the destination has a machine that waits for the state. */
  async announce(header: Buffer, signal?: AbortSignal): Promise<void> {
    this.#socket.write(header);
    await this.#hear(READY, signal);
  }

  /** Resolves when the machine runs there. */
  async arrived(): Promise<void> {
    await this.#hear(ARRIVED);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #hear(word: string, signal?: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake();
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        if (this.#said.startsWith(word)) {
          this.#said = this.#said.slice(word.length);
          return;
        }
        signal?.throwIfAborted();
        if (this.#closed) {
          const why = this.#said.trim();
          throw migrationError(this.#path, why === '' ? 'the destination gave up' : why);
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** Takes one machine; the socket's file is there only until it comes. */
export async function receiveMachine<Machine>(
  path: string,
  options: { readonly signal?: AbortSignal },
  takeUp: (state: MachineState, descriptor: number, onStarted: () => void) => Promise<Machine>,
): Promise<Machine> {
  assertSocketPath(path, 'VirtualMachine.receive');
  const socket = await accept(path, options.signal);
  try {
    const state = decodeState(await readHeader(socket, path), path, 'VirtualMachine.receive');
    const machine = await takeUp(state, descriptorOf(socket), () => socket.write(READY));
    await new Promise((resolve) => socket.end(ARRIVED, () => resolve(undefined)));
    return machine;
  } catch (error) {
    socket.end(`${messageOf(error).split('\n')[0] ?? ''}\n`);
    throw error;
  } finally {
    // What QEMU has of it is its own.
    setImmediate(() => socket.destroySoon());
  }
}

async function accept(path: string, signal?: AbortSignal): Promise<Socket> {
  signal?.throwIfAborted();
  const server: Server = createServer({ pauseOnConnect: true });
  const onAbort = (): void => void server.close();
  try {
    return await new Promise<Socket>((resolve, reject) => {
      server.once('connection', resolve).once('error', (cause) => {
        reject(migrationError(path, `it can't be listened at: ${cause.message}`, cause));
      });
      server.once('close', () => reject(migrationError(path, 'it was closed')));
      signal?.addEventListener('abort', onAbort, { once: true });
      server.listen({ path, backlog: 1 });
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (server.listening) {
      server.close();
      rmSync(path, { force: true });
    }
  }
}

/** No byte beyond it: what follows is QEMU's to read. */
async function readHeader(socket: Socket, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let byteLength = 0;
    const onData = (part: Buffer): void => {
      parts.push(part);
      byteLength += part.byteLength;
      if (byteLength < STATE_HEADER_BYTES) return;
      stopReading(socket);
      socket.off('data', onData);
      resolve(Buffer.concat(parts));
    };
    socket.on('error', () => {});
    socket.on('close', () => reject(migrationError(path, 'the source gave up')));
    socket.on('data', onData);
    socket.resume();
  });
}
