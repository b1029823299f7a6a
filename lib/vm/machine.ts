/** The life of a machine: its states, its console, and how it ends. What is done with it is `VirtualMachine`'s. */
import type { EventEmitter } from 'node:events';

import { AgentClient } from './agent.js';
import type { BootOptions } from './boot-options.js';
import { ConsoleLog } from './console-log.js';
import { Deferred } from './deferred.js';
import type { Driver, MachineRequest, Monitor, StartedMachine } from './drivers/driver.js';
import { VmError } from './errors.js';
import { assertAble, assertStep, isLegal, type VmAction, type VmState } from './states.js';

/** When what had happened, in milliseconds since the machine's program was started. */
export interface BootPhases {
  /** The kernel's first line on the console. */
  readonly kernelMs: number;
  /** The agent's greeting: commands can run. */
  readonly agentMs: number;
}

/** Why a machine is being ended; its error is made when its console is complete. */
interface Ending {
  readonly code: string;
  readonly message: string;
  readonly cause?: unknown;
  /** It was asked for. */
  readonly isWanted?: boolean;
}

/** How a machine ended. */
export interface VmExit {
  /** Exit status of the machine's program; null if a signal ended it. */
  readonly exitCode: number | null;
  /** The signal that ended the machine's program; null if it ended by itself. */
  readonly signal: NodeJS.Signals | null;
  /** Why, if nobody asked for it. */
  readonly error: VmError | undefined;
}

/** The events of a machine, with their arguments. */
export interface VmEvents {
  /** The guest's kernel gave up; its reason. The machine ends. */
  panic: [reason: string];
  /** The machine has come into another state. */
  state: [state: VmState];
  /** The guest has written a line on its console. */
  console: [line: string];
  /** The machine has ended and all that it consisted of is gone. */
  exit: [exit: VmExit];
}

/** The guard's signal for "kill all at once", native/guard/supervisor.h. */
const GUARD_KILL_SIGNAL = 40;
const DEFAULT_BOOT_TIMEOUT_MS = 60_000;
const DEFAULT_SILENCE_TIMEOUT_MS = 30_000;
const DEFAULT_GRACE_MS = 5_000;
/** What powering off takes beyond the grace that processes have, before the machine is killed. */
const POWER_OFF_MS = 5_000;
/** A panicking kernel writes its reason first and then where it was. */
const PANIC_REPORT_MS = 500;
const PANIC = /Kernel panic - not syncing: (.*)/;

/** Of this layer only: what a `VirtualMachine` is made of. */
export class Machine {
  readonly driver: Driver;
  readonly request: MachineRequest;
  readonly started: StartedMachine;
  readonly agent: AgentClient;
  readonly #events: EventEmitter<VmEvents>;
  readonly #log: ConsoleLog;
  readonly #startedAt = performance.now();
  readonly #end = new Deferred<VmExit>();
  #state: VmState = 'booting';
  /** Known before the end if it was not asked for. */
  #ending: Ending | undefined;
  #error: VmError | undefined;
  #wanted = false;
  #kernelMs: number | undefined;
  #bootPhases: BootPhases = { kernelMs: 0, agentMs: 0 };
  #kernel = '';

  constructor(
    driver: Driver,
    request: MachineRequest,
    started: StartedMachine,
    options: BootOptions,
    events: EventEmitter<VmEvents>,
  ) {
    this.driver = driver;
    this.request = request;
    this.started = started;
    this.#events = events;
    this.#log = new ConsoleLog((line) => this.#readConsole(line));
    this.agent = new AgentClient(started.control, {
      vm: request.name,
      lineWindowBytes: started.lineWindowBytes,
      takesOver: request.stateDescriptor !== undefined,
      silenceTimeoutMs: options.silenceTimeoutMs ?? DEFAULT_SILENCE_TIMEOUT_MS,
      onLost: (code, message, cause) => this.#abandon({ code, message, cause }),
    });
    for (const stream of started.consoles) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#log.append(text);
        options.console?.write(text);
      });
    }
    const { guard } = started;
    let spawnError: Error | undefined;
    guard.once('error', (error) => {
      spawnError = error;
      if (guard.pid === undefined) this.#finish(null, null, spawnError);
    });
    guard.once('close', (exitCode, signal) => this.#finish(exitCode, signal, spawnError));
  }

  get name(): string {
    return this.request.name;
  }

  get state(): VmState {
    return this.#state;
  }

  get ended(): Promise<VmExit> {
    return this.#end.promise;
  }

  get consoleText(): string {
    return this.#log.text;
  }

  get bootPhases(): BootPhases {
    return this.#bootPhases;
  }

  get kernel(): string {
    return this.#kernel;
  }

  /** Resolves when commands can run, and `setUp` is done; else the machine is gone. */
  async boot(options: BootOptions, setUp: () => Promise<void>): Promise<void> {
    const { timeoutMs = DEFAULT_BOOT_TIMEOUT_MS, signal } = options;
    const aborted = new Deferred<never>();
    const onAbort = (): void => aborted.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () =>
        this.#abandon({
          code: 'ERR_VM_BOOT_TIMEOUT',
          message: `its agent did not answer within ${timeoutMs} ms of the start; give it a longer timeoutMs`,
        }),
      timeoutMs,
    );
    try {
      const takingUp = this.request.stateDescriptor === undefined ? undefined : this.#takeUpState();
      await Promise.race([takingUp, aborted.promise]);
      const hello = await Promise.race([this.agent.ready, aborted.promise]);
      const agentMs = performance.now() - this.#startedAt;
      this.#bootPhases = { kernelMs: this.#kernelMs ?? agentMs, agentMs };
      this.#kernel = hello.kernel;
      this.step('running');
      await Promise.race([setUp(), aborted.promise]);
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async stop(graceMs: number = DEFAULT_GRACE_MS): Promise<VmExit> {
    if (this.#state === 'booting' || this.#state === 'saving') return this.kill();
    this.#wanted = true;
    if (this.#state === 'running') {
      this.step('stopping');
      this.agent.powerOff(graceMs);
      const timer = setTimeout(() => this.#killTree(), graceMs + POWER_OFF_MS);
      this.#end.promise.then(
        () => clearTimeout(timer),
        () => {},
      );
    }
    return this.#end.promise;
  }

  async kill(): Promise<VmExit> {
    this.#wanted = true;
    this.#killTree();
    return this.#end.promise;
  }

  /** What the machine was is elsewhere now: it is no failure that it ends, but who uses it learns why. */
  async leave(message: string): Promise<void> {
    this.#abandon({ code: 'ERR_VM_MIGRATED', message, isWanted: true });
    await this.#end.promise;
  }

  step(to: VmState): void {
    assertStep(this.name, this.#state, to);
    this.#state = to;
    this.#events.emit('state', to);
  }

  /** @throws VmError `ERR_VM_UNSUPPORTED`, `ERR_VM_STATE`, `ERR_VM_ENDED` */
  assertLegal(action: VmAction, call: string): void {
    assertAble(this.driver.name, action, call, this.name);
    if (isLegal(this.#state, action)) return;
    const ended = this.#state === 'ended';
    throw new VmError(
      ended ? 'ERR_VM_ENDED' : 'ERR_VM_STATE',
      `it is ${this.#state} and can't ${action}${ended ? '; boot another one' : ''}`,
      { vm: this.name, call, operands: { state: this.#state }, cause: this.#error },
    );
  }

  /** @throws as `assertLegal` */
  monitorFor(action: VmAction, call: string): Monitor {
    this.assertLegal(action, call);
    const { monitor } = this.started;
    if (monitor === undefined) throw new Error(`driver ${this.driver.name} has no monitor`);
    return monitor;
  }

  /** What the monitor says, or why it didn't, as an error of the machine. */
  async tell<T>(call: string, answer: Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await answer;
    } catch (cause) {
      if (cause instanceof VmError) throw cause;
      if (this.#error !== undefined) throw this.#error;
      signal?.throwIfAborted();
      const message = `its monitor refuses: ${cause instanceof Error ? cause.message : String(cause)}`;
      throw new VmError('ERR_VM_MONITOR', message, { vm: this.name, call, cause });
    }
  }

  /** The state arrives and runs; the agent in it learns that its host is another. */
  async #takeUpState(): Promise<void> {
    const received = this.started.monitor?.receiveState();
    // A state that QEMU can't read ends it: then its last words say more than its monitor.
    await Promise.race([received, this.agent.ready]).catch(() => this.agent.ready);
    this.agent.takeOver();
  }

  #readConsole(line: string): void {
    this.#events.emit('console', line);
    this.#kernelMs ??= performance.now() - this.#startedAt;
    const reason = PANIC.exec(line)?.[1];
    if (reason === undefined || this.#ending !== undefined) return;
    this.#ending = { code: 'ERR_VM_PANIC', message: `its kernel panicked: ${reason}` };
    this.#events.emit('panic', reason);
    setTimeout(() => this.#killTree(), PANIC_REPORT_MS).unref();
  }

  /** The machine is of no more use: it is killed and its users learn why. */
  #abandon(ending: Ending): void {
    this.#ending ??= ending;
    this.#killTree();
  }

  #killTree(): void {
    const { guard } = this.started;
    if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
    process.kill(guard.pid, GUARD_KILL_SIGNAL);
  }

  #finish(exitCode: number | null, signal: NodeJS.Signals | null, spawnError?: Error): void {
    if (this.#state === 'ended') return;
    const wanted = this.#ending === undefined ? this.#wanted : this.#ending.isWanted === true;
    const { code, message, cause } = this.#ending ?? this.#explain(exitCode, signal, spawnError);
    this.#error = new VmError(code, message, {
      vm: this.name,
      consoleTail: wanted ? '' : this.#log.tail(PANIC),
      cause,
    });
    this.step('ended');
    this.agent.close(this.#error);
    this.started.monitor?.close();
    const exit: VmExit = { exitCode, signal, error: wanted ? undefined : this.#error };
    this.#end.resolve(exit);
    this.#events.emit('exit', exit);
  }

  #explain(exitCode: number | null, signal: NodeJS.Signals | null, spawnError?: Error): Ending {
    if (spawnError !== undefined) {
      const message = `it could not be started: ${spawnError.message}`;
      return { code: 'ERR_VM_BOOT', message, cause: spawnError };
    }
    if (this.#wanted) return { code: 'ERR_VM_ENDED', message: 'it was stopped' };
    const how = signal === null ? `exit status ${exitCode}` : `signal ${signal}`;
    return this.#state === 'booting'
      ? { code: 'ERR_VM_BOOT', message: `it ended before its agent answered (${how})` }
      : { code: 'ERR_VM_ENDED', message: `it ended unexpectedly (${how})` };
  }
}
