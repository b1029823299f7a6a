/** Sides in another process: the same commands, carried over IPC to test/verbs/programs/peer.ts. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import type { Side, SideOptions } from './side.js';

/** A command for a side, or without one: to make a side. */
export interface Command {
  readonly number: number;
  readonly side?: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** An error keeps what the tests look at. */
export interface Answer {
  readonly number: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly code: unknown };
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const PROGRAM = fileURLToPath(new URL('../programs/peer.js', import.meta.url));

export class Peer {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<unknown>;
  #number = 0;

  /** `by`: the command that runs it, in place of Node.js alone. */
  static start(env: NodeJS.ProcessEnv = {}, by: readonly [string, ...string[]] = [process.execPath]): Peer {
    const [execPath, ...execArgv] = by;
    return new Peer(
      fork(PROGRAM, {
        ...{ serialization: 'advanced', execPath, execArgv },
        env: { ...process.env, ...env },
      }),
    );
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'exit');
    child.on('message', (answer) => this.#settle(answer as Answer));
    child.on('exit', (code, signal) => this.#lose(`ended with ${signal ?? String(code)}`));
    child.on('error', (error) => this.#lose(error.message));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  #settle({ number, result, error }: Answer): void {
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    if (error === undefined) pending?.resolve(result);
    else pending?.reject(Object.assign(new Error(error.message), { code: error.code }));
  }

  #lose(how: string): void {
    for (const { reject } of this.#pending.values()) reject(new Error(`the peer ${how}`));
    this.#pending.clear();
  }

  #call(side: number | undefined, method: string, args: readonly unknown[]): Promise<unknown> {
    const command: Command = {
      number: (this.#number += 1),
      method,
      args,
      ...(side === undefined ? {} : { side }),
    };
    return new Promise((resolve, reject) => {
      this.#pending.set(command.number, { resolve, reject });
      this.#child.send(command, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  /** A side in the peer's process. */
  async side(options: SideOptions): Promise<Side> {
    const index = (await this.#call(undefined, 'open', [options])) as number;
    return new Proxy({} as Side, {
      // A side is no promise, though `await` asks whether it is.
      get: (_, method) =>
        method === 'then' || typeof method !== 'string'
          ? undefined
          : (...args: unknown[]) => this.#call(index, method, args),
    });
  }

  /** Once it runs. */
  async processNumber(): Promise<number> {
    return (await this.#call(undefined, 'number', [])) as number;
  }

  /** Ends the process in its tracks, or as programs end. */
  async end(how: 'SIGKILL' | 'exit'): Promise<void> {
    if (how === 'exit') this.#call(undefined, 'exit', []).catch(() => undefined);
    else this.#child.kill(how);
    await this.#ended;
  }

  /** Has it close all sides, and waits until it has ended by itself. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }
}
