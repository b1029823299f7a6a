/** Machines that outlive the process that booted them, known by their names to all processes of one user. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { builtExecutable } from '../../addon/index.js';
import type { SaveResult } from '../drivers/driver.js';
import { VmError } from '../errors.js';
import type { GuestExit } from '../guest-process.js';
import type { VmStatistics } from '../statistics.js';
import { JsonConnection } from './json-connection.js';
import {
  claimedNames,
  isClaimed,
  machineFolder,
  removeAbandoned,
  socketPath,
} from './machine-folder.js';
import type {
  ExecRequest,
  FromKeeper,
  KeeperInstructions,
  KeptBootOptions,
  MachineStatus,
  Origin,
  PlainError,
  Progress,
  Request,
  Results,
  ToKeeper,
} from './messages.js';

/** A keeper that takes longer to end than that is stuck; its guard's claim stays then. */
const GIVE_BACK_MS = 5000;
const KEEPER = fileURLToPath(new URL('./keeper.js', import.meta.url));

/** Of a machine that comes to life. */
export interface ArrivalOptions {
  /** How long it may take from the start of its program; 60 s by default. */
  readonly timeoutMs?: number;
  /** Takes the console's text until the machine is there. */
  readonly onConsole?: (text: string) => void;
  /** Gives the machine up; nothing is left of it when the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a command in the guest is given and where its output goes. */
export interface RemoteStreams {
  /** Standard input, empty by default. */
  readonly stdin?: AsyncIterable<Buffer>;
  /** Takes standard output as it comes; without it the output is dropped. */
  readonly onStdout?: (chunk: Buffer) => void;
  /** Takes standard error as it comes; without it the output is dropped. */
  readonly onStderr?: (chunk: Buffer) => void;
  /** Called once, with what sends the command a signal. */
  readonly signals?: (forward: (signal: NodeJS.Signals) => void) => void;
}

function nameTaken(name: string): VmError {
  return new VmError(
    'ERR_VM_NAME',
    `there is a machine '${name}' already; stop it (viaduct vm stop ${name}) or choose another name`,
    { call: 'NamedMachine.boot', operands: { name } },
  );
}

function failure({ code, message }: PlainError, vm: string): VmError {
  // The keeper's errors name their machine already.
  const own = `VM ${vm}: `;
  return message.startsWith(own)
    ? new VmError(code, message.slice(own.length), { vm })
    : new VmError(code, message, { vm });
}

/**
 * A machine with a name, owned by a process of its own, the keeper: it lives until it is stopped or killed, or its
 * keeper is. One that ended by itself is remembered for ten minutes, with the reason in `status()`, or until `stop` or
 * `kill`. Names are those of one user on one host: of the folder `XDG_RUNTIME_DIR` where that is set, else of the
 * temporary one. A name is free again when `stop`, `kill` or `migrate` resolves.
 *
 * Each method asks the keeper by a connection of its own. Besides what it lists, it throws a VmError `ERR_VM_NAME` when
 * the machine is no longer there, and `ERR_VM_ENDED` when its keeper ends before it has answered. Errors of the machine
 * come with code and message, without `call`, `operands` and `cause`; what is no `ViaductError` there is `ERR_VM_KEEPER`.
 *
 * ```ts
 * import { NamedMachine } from 'viaduct/vm';
 *
 * const machine = await NamedMachine.boot('example', { driver: 'uml' });
 * const { exitCode } = await machine.exec({ command: 'true', args: [] });
 * console.log(machine.name, exitCode); // prints example 0
 * await (await NamedMachine.open('example')).stop();
 * ```
 */
export class NamedMachine {
  /** By which the processes of its user find it. */
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /**
   * Boots a machine in the background; resolves when commands can run.
   *
   * @param name 1 to 63 letters, digits, hyphens and dots, a letter or digit first
   * @throws VmError `ERR_VM_NAME` when a machine has that name already, `ERR_VM_KEEPER` when its keeper ends before the
   * machine is there, and what `VirtualMachine.boot` throws; or the signal's reason. Nothing is left running then.
   */
  static async boot(
    name: string,
    options: KeptBootOptions = {},
    arrival: ArrivalOptions = {},
  ): Promise<NamedMachine> {
    return NamedMachine.#start(name, { kind: 'boot', options }, arrival);
  }

  /**
   * As `VirtualMachine.restore`, in the background, under this name.
   *
   * @throws VmError as `boot` and `VirtualMachine.restore`
   */
  static async restore(
    name: string,
    path: string,
    arrival: ArrivalOptions = {},
  ): Promise<NamedMachine> {
    return NamedMachine.#start(name, { kind: 'restore', path: resolve(path) }, arrival);
  }

  /**
   * As `VirtualMachine.receive`, in the background, under this name.
   *
   * @throws VmError as `boot` and `VirtualMachine.receive`
   */
  static async receive(
    name: string,
    path: string,
    arrival: ArrivalOptions = {},
  ): Promise<NamedMachine> {
    return NamedMachine.#start(name, { kind: 'receive', path: resolve(path) }, arrival);
  }

  /**
   * Finds a machine that any process of this user has booted.
   *
   * @throws VmError `ERR_VM_NAME` when there is none of that name, `ERR_VM_ARGUMENT` for a name that none can have
   */
  static async open(name: string): Promise<NamedMachine> {
    const machine = new NamedMachine(name);
    await machine.status();
    return machine;
  }

  /** The machines of this user on this host in the order of their names, without those that are booting still. */
  static async list(): Promise<MachineStatus[]> {
    const found = await Promise.all(
      claimedNames().map(async (name) => {
        try {
          return await new NamedMachine(name).status();
        } catch (error) {
          // It ended just now, is booting still, or the folder is another's.
          if (error instanceof VmError && error.code === 'ERR_VM_NAME') return undefined;
          throw error;
        }
      }),
    );
    return found.filter((status) => status !== undefined);
  }

  static async #start(
    name: string,
    origin: Origin,
    arrival: ArrivalOptions,
  ): Promise<NamedMachine> {
    const { timeoutMs, signal } = arrival;
    signal?.throwIfAborted();
    const folder = machineFolder(name);
    if (isClaimed(name) && (await NamedMachine.#isServed(name))) throw nameTaken(name);
    const instructions: KeeperInstructions = {
      name,
      origin,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    };
    const guard = spawn(
      builtExecutable('viaduct-guard'),
      [
        ...['--outlive', '--same-namespace', '--claim', folder, '--'],
        ...[process.execPath, KEEPER, JSON.stringify(instructions)],
      ],
      { cwd: '/', detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const onAbort = (): void => void guard.kill('SIGTERM');
    signal?.addEventListener('abort', onAbort, { once: true });
    let complaint = '';
    guard.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    const ended = once(guard, 'close').catch((error: unknown) => {
      complaint = error instanceof Error ? error.message : String(error);
    });
    try {
      for await (const line of createInterface({ input: guard.stdio[3] as Readable })) {
        const message = JSON.parse(line) as Progress;
        if (message.type === 'console') arrival.onConsole?.(message.text);
        if (message.type === 'error') {
          // Nothing of it is left when the caller learns of it.
          await ended;
          signal?.throwIfAborted();
          throw failure(message.error, name);
        }
        if (message.type === 'ready') {
          guard.unref();
          guard.stderr?.destroy();
          return new NamedMachine(name);
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    await ended;
    signal?.throwIfAborted();
    // Another has claimed the name since it was looked at.
    if (isClaimed(name)) throw nameTaken(name);
    const why = complaint.trim();
    throw new VmError(
      'ERR_VM_KEEPER',
      `its keeper ended before the machine was there${why === '' ? '' : `: ${why}`}`,
      { vm: name, call: 'NamedMachine.boot' },
    );
  }

  /** Whether a keeper answers, or has the name and will; what nobody answers for is removed. */
  static async #isServed(name: string): Promise<boolean> {
    try {
      await new NamedMachine(name).status();
      return true;
    } catch (error) {
      if (!(error instanceof VmError && error.code === 'ERR_VM_NAME')) throw error;
      if ((error.cause as NodeJS.ErrnoException | undefined)?.code !== 'ECONNREFUSED') {
        return isClaimed(name);
      }
      removeAbandoned(name);
      return false;
    }
  }

  /** What the machine is, and where in its life. */
  async status(): Promise<MachineStatus> {
    return this.#ask({ op: 'status' });
  }

  /** As `VirtualMachine.stats`. */
  async stats(): Promise<VmStatistics> {
    return this.#ask({ op: 'stats' });
  }

  /** As `VirtualMachine.pause`. */
  async pause(): Promise<void> {
    await this.#ask({ op: 'pause' });
  }

  /** As `VirtualMachine.resume`. */
  async resume(): Promise<void> {
    await this.#ask({ op: 'resume' });
  }

  /** As `VirtualMachine.stop`, with `graceMs` 5000 by default; a machine that ended by itself is forgotten. */
  async stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    await this.#ask({ op: 'stop', ...options });
    await this.#gone();
  }

  /** As `VirtualMachine.kill`; a machine that ended by itself is forgotten. */
  async kill(): Promise<void> {
    await this.#ask({ op: 'kill' });
    await this.#gone();
  }

  /** As `VirtualMachine.snapshot`, into a new file of this host; `path` may be relative. */
  async snapshot(path: string): Promise<SaveResult> {
    return this.#ask({ op: 'snapshot', path: resolve(path) });
  }

  /** As `VirtualMachine.migrate`, to whoever waits in `receive` at the Unix socket `path`. */
  async migrate(path: string): Promise<SaveResult> {
    const saved = await this.#ask({ op: 'migrate', path: resolve(path) });
    await this.#gone();
    return saved;
  }

  /**
   * As `VirtualMachine.resizeMemory`.
   *
   * @returns what the guest then has in bytes: more than was asked for if it needs more
   */
  async resizeMemory(sizeBytes: number): Promise<number> {
    return this.#ask({ op: 'resizeMemory', sizeBytes });
  }

  /** As `VirtualMachine.copyIn`; `from`, a path of this host, may be relative. */
  async copyIn(from: string, to: string): Promise<void> {
    await this.#ask({ op: 'copyIn', from: resolve(from), to });
  }

  /** As `VirtualMachine.copyOut`; `to`, a path of this host, may be relative. */
  async copyOut(from: string, to: string): Promise<void> {
    await this.#ask({ op: 'copyOut', from, to: resolve(to) });
  }

  /**
   * Gives the last 256 Ki characters of the console; with `follow` in whole lines, and then each further one, until the
   * machine ends or the signal aborts.
   *
   * @throws the signal's reason
   */
  async console(
    onText: (text: string) => void,
    options: { readonly follow?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { follow = false, signal } = options;
    await this.#ask({ op: 'console', follow }, { onText, signal });
  }

  /**
   * Runs a command in the guest to its end, as `VirtualMachine.exec`; its streams go as `streams` says. The command is
   * killed if this process ends before.
   *
   * @throws VmError as `VirtualMachine.spawn`, or `ERR_VM_EXEC`, `ERR_VM_EXEC_TIMEOUT`, `ERR_VM_PANIC`, `ERR_VM_SILENT`,
   * `ERR_VM_PROTOCOL`
   */
  async exec(request: ExecRequest, streams: RemoteStreams = {}): Promise<GuestExit> {
    return this.#ask({ op: 'exec', ...request }, { streams });
  }

  /** The keeper has answered and ends; its guard then gives the name back. */
  async #gone(): Promise<void> {
    for (let waitedMs = 0; waitedMs < GIVE_BACK_MS && isClaimed(this.name); waitedMs += 10) {
      await sleep(10);
    }
  }

  async #ask<R extends Request>(
    request: R,
    {
      onText,
      streams,
      signal,
    }: {
      readonly onText?: (text: string) => void;
      readonly streams?: RemoteStreams;
      readonly signal?: AbortSignal | undefined;
    } = {},
  ): Promise<Results[R['op']]> {
    const connection = await this.#connect();
    const onAbort = (): void => connection.destroy();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await connection.send({ type: 'request', request });
      if (streams !== undefined) feed(connection, streams);
      for await (const message of connection.messages()) {
        if (message.type === 'result') return message.result as Results[R['op']];
        if (message.type === 'error') throw failure(message.error, this.name);
        if (message.type === 'text') onText?.(message.text);
        else {
          const take = message.type === 'stdout' ? streams?.onStdout : streams?.onStderr;
          take?.(Buffer.from(message.bytes, 'base64'));
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
      connection.destroy();
    }
    signal?.throwIfAborted();
    throw new VmError('ERR_VM_ENDED', 'its keeper has ended', {
      vm: this.name,
      call: `NamedMachine.${request.op}`,
    });
  }

  async #connect(): Promise<JsonConnection<FromKeeper, ToKeeper>> {
    const path = socketPath(this.name);
    isClaimed(this.name);
    const socket = connect(path);
    try {
      await once(socket, 'connect');
    } catch (cause) {
      throw new VmError(
        'ERR_VM_NAME',
        `there is no machine '${this.name}'; viaduct vm list shows those that there are`,
        { call: 'NamedMachine.open', operands: { name: this.name }, cause },
      );
    }
    return new JsonConnection(socket);
  }
}

function feed(connection: JsonConnection<FromKeeper, ToKeeper>, streams: RemoteStreams): void {
  streams.signals?.((signal) => void connection.send({ type: 'signal', signal }));
  void (async () => {
    if (streams.stdin !== undefined) {
      for await (const chunk of streams.stdin) {
        if (!connection.open) return;
        await connection.send({ type: 'stdin', bytes: chunk.toString('base64') });
      }
    }
    await connection.send({ type: 'stdinEnd' });
  })();
}
