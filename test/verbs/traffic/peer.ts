/** Sides in another process: the same commands, carried over its standard streams to test/verbs/programs/peer.ts. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { receiveValues, sendValue } from './messages.js';
import type { Facts } from './facts.js';
import type { Side, SideOptions } from './side.js';

/** A command for a side, or without one for the process. */
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

/** A process that runs `PEER_PROGRAM`, of this host or of a guest. */
export interface PeerProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  kill(signal: 'SIGKILL'): unknown;
  /** Resolves, when it has ended, to how. */
  readonly ended: Promise<string>;
}

export const PEER_PROGRAM = fileURLToPath(new URL('../programs/peer.js', import.meta.url));

export class Peer {
  readonly #process: PeerProcess;
  readonly #pending = new Map<number, Pending>();
  #number = 0;

  /** @param by the command that runs it, in place of Node.js alone */
  static start(
    env: NodeJS.ProcessEnv = {},
    by: readonly [string, ...string[]] = [process.execPath],
  ): Peer {
    const [command, ...args] = by;
    const child = spawn(command, [...args, PEER_PROGRAM], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    const ended = once(child, 'exit').then(
      ([code, signal]) => String(signal ?? code),
      (error: unknown) => String(error),
    );
    const { stdin, stdout } = child;
    return new Peer({ stdin, stdout, ended, kill: (signal) => child.kill(signal) });
  }

  constructor(peerProcess: PeerProcess) {
    this.#process = peerProcess;
    receiveValues(peerProcess.stdout, (answer) => this.#settle(answer as Answer));
    // How the process ended says more than that its input is closed.
    peerProcess.stdin.on('error', () => {});
    void peerProcess.ended.then((how) => this.#lose(`ended with ${how}`));
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
      sendValue(this.#process.stdin, command);
    });
  }

  /** What the process knows of its device. */
  async facts(): Promise<Facts> {
    return (await this.#call(undefined, 'facts', [])) as Facts;
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
    else this.#process.kill(how);
    await this.#process.ended;
  }

  /** Has it close all sides, and waits until it has ended by itself. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#process.ended;
  }
}
