/** A virtual machine from boot to end: its states, its commands, its errors. */
import { EventEmitter } from 'node:events';
import { isAbsolute } from 'node:path';

import { AgentClient, HOST_ROOT } from './agent.js';
import { ConsoleLog } from './console-log.js';
import { Deferred } from './deferred.js';
import type { Driver, MachineRequest, StartedMachine } from './drivers/driver.js';
import { uml } from './drivers/uml.js';
import { VmError } from './errors.js';
import { collect, type ExecOptions, type ExecResult } from './exec.js';
import type { GuestProcess, SpawnOptions } from './guest-process.js';
import type { LinkEnd } from './link.js';
import { parseAddress } from './network-address.js';
import { FRAME, PayloadReader, PayloadWriter } from './protocol.js';
import { assertStep, isLegal, type VmAction, type VmState } from './states.js';

export type { ExecOptions, ExecResult } from './exec.js';

/** What a machine is to be. */
export interface BootOptions {
  /** `'uml'` is User-Mode Linux (Debian package user-mode-linux), the only driver so far and the default. */
  readonly driver?: 'uml';
  /** Its name in errors and its host name: letters, digits, `-` and `.`; `vm1`, `vm2`, … by default. */
  readonly name?: string;
  /** 256 MiB by default, which is enough for Node.js; at least 32 MiB. */
  readonly memoryBytes?: number;
  /** The path by which another process opens an aperture (`aperture.path`); the guest has it as /dev/mmapper. */
  readonly aperture?: string;
  /** The machine's end of a `VirtualLink`. */
  readonly network?: LinkEnd;
  /** IPv4 address and prefix length of that end, such as `10.86.0.1/24`. */
  readonly address?: string;
  /** The processor of the host that the whole machine runs on; any by default. */
  readonly cpu?: number;
  /** Gets a copy of the console's text. */
  readonly console?: NodeJS.WritableStream;
  /** How long booting may take; 60 s by default. */
  readonly timeoutMs?: number;
  /** Aborts booting. */
  readonly signal?: AbortSignal;
  /** An agent that doesn't answer for that long is lost and the machine killed; 30 s by default. */
  readonly silenceTimeoutMs?: number;
}

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
  /** The machine has ended and all that it consisted of is gone. */
  exit: [exit: VmExit];
}

/** Memory of a guest as its kernel sees it. */
export interface GuestMemory {
  /** MemTotal of proc(5): what the kernel has to give. */
  readonly totalBytes: number;
  /** MemFree: what is used for nothing. */
  readonly freeBytes: number;
  /** MemAvailable: what could be given to programs without swapping. */
  readonly availableBytes: number;
}

const drivers: Readonly<Record<string, Driver>> = { uml };

/** The guard's signal for "kill all at once", native/guard/supervisor.h. */
const GUARD_KILL_SIGNAL = 40;
const DEFAULT_BOOT_TIMEOUT_MS = 60_000;
const DEFAULT_SILENCE_TIMEOUT_MS = 30_000;
const DEFAULT_MEMORY_BYTES = 256 * 2 ** 20;
const MIN_MEMORY_BYTES = 32 * 2 ** 20;
const DEFAULT_GRACE_MS = 5_000;
/** What powering off takes beyond the grace that processes have, before the machine is killed. */
const POWER_OFF_MS = 5_000;
/** A panicking kernel writes its reason first and then where it was. */
const PANIC_REPORT_MS = 500;
const PANIC = /Kernel panic - not syncing: (.*)/;

let machineCount = 0;

/**
 * A virtual machine. It dies with this process, however that ends.
 *
 * Commands run as root of the guest in the host's file system, read-only; they have /proc, /sys, /dev and /dev/shm of
 * their own, and in /tmp they see the host's files while what they write stays in the guest.
 *
 * ```ts
 * import { VirtualMachine } from 'viaduct/vm';
 *
 * await using vm = await VirtualMachine.boot({ memoryBytes: 128 * 2 ** 20 });
 * const { exitCode, stdout } = await vm.exec('uname', ['-s']);
 * console.log(exitCode, stdout.trim()); // prints 0 Linux
 * ```
 */
export class VirtualMachine extends EventEmitter<VmEvents> {
  /**
   * Boots a machine; resolves when commands can run.
   *
   * @throws VmError `ERR_VM_DRIVER`, `ERR_VM_ARGUMENT`, `ERR_VM_BOOT`, `ERR_VM_BOOT_TIMEOUT`, `ERR_VM_PANIC`,
   * `ERR_VM_PROTOCOL`, `ERR_VM_NETWORK`, or the signal's reason. Nothing is left running then.
   */
  static async boot(options: BootOptions = {}): Promise<VirtualMachine> {
    options.signal?.throwIfAborted();
    const { driver, request } = check(options);
    const vm = new VirtualMachine(driver, request, options);
    await vm.#boot(options);
    return vm;
  }

  /** Its name in errors, and its host name. */
  readonly name: string;
  /** What runs it: `uml`. */
  readonly driver: string;
  readonly #driver: Driver;
  readonly #machine: StartedMachine;
  readonly #agent: AgentClient;
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

  private constructor(driver: Driver, request: MachineRequest, options: BootOptions) {
    super();
    this.name = request.name;
    this.driver = driver.name;
    this.#driver = driver;
    this.#log = new ConsoleLog((line) => this.#readConsole(line));
    this.#machine = driver.start(request);
    this.#agent = new AgentClient(this.#machine.control, {
      vm: this.name,
      silenceTimeoutMs: options.silenceTimeoutMs ?? DEFAULT_SILENCE_TIMEOUT_MS,
      onLost: (code, message, cause) => this.#abandon({ code, message, cause }),
    });
    for (const stream of this.#machine.consoles) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#log.append(text);
        options.console?.write(text);
      });
    }
    const { guard } = this.#machine;
    let spawnError: Error | undefined;
    guard.once('error', (error) => {
      spawnError = error;
      if (guard.pid === undefined) this.#finish(null, null, spawnError);
    });
    guard.once('close', (exitCode, signal) => this.#finish(exitCode, signal, spawnError));
  }

  /** Where it is between boot and end. */
  get state(): VmState {
    return this.#state;
  }

  /** Resolves when the machine has ended, however. */
  get ended(): Promise<VmExit> {
    return this.#end.promise;
  }

  /** The last 256 Ki characters of the console. */
  get consoleText(): string {
    return this.#log.text;
  }

  /** How long its start took. Both times are 0 until it has booted. */
  get bootPhases(): BootPhases {
    return this.#bootPhases;
  }

  /** Release of the guest's kernel. */
  get kernel(): string {
    return this.#kernel;
  }

  /** Process number of the machine's guard on the host: killing it ends the machine. */
  get guardPid(): number {
    return this.#machine.guard.pid ?? 0;
  }

  /** The guest's name for its end of a link. */
  get networkInterface(): string {
    return this.#driver.networkInterface;
  }

  /**
   * Starts a command and gives its streams. What goes wrong is in the promises of the result.
   *
   * @throws VmError `ERR_VM_STATE` or `ERR_VM_ENDED` unless the machine is running, `ERR_VM_ARGUMENT`
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): GuestProcess {
    this.#assertLegal('exec', 'vm.spawn');
    const { cwd = '/' } = options;
    if (!isAbsolute(cwd)) throw this.#argumentError('vm.spawn', 'cwd', cwd, 'an absolute path');
    const texts = [command, ...args, cwd, ...Object.entries(options.env ?? {}).flat()];
    const broken = texts.find((text) => text?.includes('\0'));
    if (broken !== undefined) {
      throw this.#argumentError('vm.spawn', 'a text', JSON.stringify(broken), 'without NUL');
    }
    const environment = { PATH: process.env['PATH'], HOME: '/tmp', ...options.env };
    return this.#agent.spawn(
      {
        root: HOST_ROOT,
        cwd,
        command: [command, ...args],
        environment: Object.entries(environment).flatMap(([name, value]) =>
          value === undefined ? [] : [`${name}=${value}`],
        ),
      },
      options,
    );
  }

  /**
   * Runs a command to its end. An exit status other than 0 is a result, not an error.
   *
   * @throws VmError as `spawn`, or `ERR_VM_EXEC`, `ERR_VM_EXEC_TIMEOUT`, `ERR_VM_OUTPUT`, `ERR_VM_PANIC`,
   * `ERR_VM_SILENT`, `ERR_VM_PROTOCOL`; or the signal's reason
   */
  async exec(
    command: string,
    args: readonly string[] = [],
    options: ExecOptions = {},
  ): Promise<ExecResult> {
    return collect(this.name, command, this.spawn(command, args, options), options);
  }

  /**
   * Gives an interface its IPv4 address and brings it up.
   *
   * @param address address and prefix length, such as `10.86.0.1/24`
   * @throws VmError `ERR_VM_NETWORK`, `ERR_VM_ARGUMENT`, `ERR_VM_STATE`, `ERR_VM_ENDED`
   */
  async configureNetwork(
    address: string,
    { interface: name = this.networkInterface, mtu = 0 }: { interface?: string; mtu?: number } = {},
  ): Promise<void> {
    this.#assertLegal('configure the network', 'vm.configureNetwork');
    const parsed = parseAddress(address);
    if (parsed === undefined) {
      throw this.#argumentError('vm.configureNetwork', 'address', address, 'like 10.86.0.1/24');
    }
    const payload = new PayloadWriter().text(name).u32(parsed.address).u32(parsed.prefixLength);
    await this.#agent.request(
      FRAME.network,
      payload.u32(mtu).bytes(),
      FRAME.done,
      (errno, step) =>
        new VmError('ERR_VM_NETWORK', `${name} can't be given ${address}: ${step} failed`, {
          vm: this.name,
          call: 'vm.configureNetwork',
          operands: { interface: name, address, mtu },
          errno,
        }),
    );
  }

  /**
   * How much memory the guest has and uses.
   *
   * @throws VmError `ERR_VM_STATE`, `ERR_VM_ENDED`
   */
  async memory(): Promise<GuestMemory> {
    this.#assertLegal('read its memory', 'vm.memory');
    const payload = await this.#agent.request(
      FRAME.memory,
      Buffer.alloc(0),
      FRAME.memory,
      (errno, step) => new VmError('ERR_VM_PROTOCOL', step, { vm: this.name, errno }),
    );
    const reader = new PayloadReader(payload);
    return {
      totalBytes: reader.u64(),
      freeBytes: reader.u64(),
      availableBytes: reader.u64(),
    };
  }

  /**
   * Ends the guest's processes by SIGTERM, after `graceMs` by SIGKILL, and powers off; kills the machine if that
   * doesn't work. Harmless when it has ended.
   */
  async stop({ graceMs = DEFAULT_GRACE_MS }: { graceMs?: number } = {}): Promise<VmExit> {
    if (this.#state === 'booting') return this.kill();
    this.#wanted = true;
    if (this.#state === 'running') {
      this.#step('stopping');
      this.#agent.powerOff(graceMs);
      const timer = setTimeout(() => this.#killTree(), graceMs + POWER_OFF_MS);
      this.#end.promise.then(
        () => clearTimeout(timer),
        () => {},
      );
    }
    return this.#end.promise;
  }

  /** Ends the machine at once, as pulling the plug. Resolves when all of it is gone; harmless when it has ended. */
  async kill(): Promise<VmExit> {
    this.#wanted = true;
    this.#killTree();
    return this.#end.promise;
  }

  /** As `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #boot(options: BootOptions): Promise<void> {
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
      const hello = await Promise.race([this.#agent.ready, aborted.promise]);
      const agentMs = performance.now() - this.#startedAt;
      this.#bootPhases = { kernelMs: this.#kernelMs ?? agentMs, agentMs };
      this.#kernel = hello.kernel;
      this.#step('running');
      if (options.address !== undefined) {
        await Promise.race([this.configureNetwork(options.address), aborted.promise]);
      }
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #readConsole(line: string): void {
    this.#kernelMs ??= performance.now() - this.#startedAt;
    const reason = PANIC.exec(line)?.[1];
    if (reason === undefined || this.#ending !== undefined) return;
    this.#ending = { code: 'ERR_VM_PANIC', message: `its kernel panicked: ${reason}` };
    this.emit('panic', reason);
    setTimeout(() => this.#killTree(), PANIC_REPORT_MS).unref();
  }

  /** The machine is of no more use: it is killed and its users learn why. */
  #abandon(ending: Ending): void {
    this.#ending ??= ending;
    this.#killTree();
  }

  #killTree(): void {
    const { guard } = this.#machine;
    if (guard.pid === undefined || guard.exitCode !== null || guard.signalCode !== null) return;
    process.kill(guard.pid, GUARD_KILL_SIGNAL);
  }

  #finish(exitCode: number | null, signal: NodeJS.Signals | null, spawnError?: Error): void {
    if (this.#state === 'ended') return;
    const wanted = this.#wanted && this.#ending === undefined;
    const { code, message, cause } = this.#ending ?? this.#explain(exitCode, signal, spawnError);
    this.#step('ended');
    this.#error = new VmError(code, message, {
      vm: this.name,
      consoleTail: wanted ? '' : this.#log.tail(PANIC),
      cause,
    });
    this.#agent.close(this.#error);
    const exit: VmExit = { exitCode, signal, error: wanted ? undefined : this.#error };
    this.#end.resolve(exit);
    this.emit('exit', exit);
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

  #step(to: VmState): void {
    assertStep(this.name, this.#state, to);
    this.#state = to;
  }

  #assertLegal(action: VmAction, call: string): void {
    if (isLegal(this.#state, action)) return;
    const ended = this.#state === 'ended';
    throw new VmError(
      ended ? 'ERR_VM_ENDED' : 'ERR_VM_STATE',
      `it is ${this.#state} and can't ${action}${ended ? '; boot another one' : ''}`,
      { vm: this.name, call, operands: { state: this.#state }, cause: this.#error },
    );
  }

  #argumentError(call: string, what: string, value: string, wanted: string): VmError {
    return new VmError('ERR_VM_ARGUMENT', `${call}: ${what} must be ${wanted}, not ${value}`, {
      vm: this.name,
      call,
      operands: { [what]: value },
    });
  }
}

function check(options: BootOptions): { driver: Driver; request: MachineRequest } {
  const { driver: driverName = 'uml', memoryBytes = DEFAULT_MEMORY_BYTES, cpu } = options;
  const name = options.name ?? `vm${(machineCount += 1)}`;
  const fail = (what: string, value: unknown, wanted: string, code = 'ERR_VM_ARGUMENT'): never => {
    throw new VmError(
      code,
      `VirtualMachine.boot: ${what} must be ${wanted}, not ${String(value)}`,
      {
        call: 'VirtualMachine.boot',
        operands: { [what]: value },
      },
    );
  };
  if (!/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(name)) {
    fail('name', name, '1 to 63 letters, digits, hyphens and dots, a letter or digit first');
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < MIN_MEMORY_BYTES) {
    fail('memoryBytes', memoryBytes, `an integer of at least ${MIN_MEMORY_BYTES}`);
  }
  if (cpu !== undefined && (!Number.isSafeInteger(cpu) || cpu < 0)) {
    fail('cpu', cpu, 'the number of a processor');
  }
  for (const what of ['timeoutMs', 'silenceTimeoutMs'] as const) {
    const value = options[what];
    if (value !== undefined && !(value > 0 && value < 2 ** 31)) {
      fail(what, value, 'a positive number of milliseconds below 2^31');
    }
  }
  if (options.address !== undefined && options.network === undefined) {
    fail('address', options.address, 'given together with network');
  }
  if (options.address !== undefined && parseAddress(options.address) === undefined) {
    fail('address', options.address, 'like 10.86.0.1/24');
  }
  const driver = drivers[driverName];
  if (driver === undefined) {
    return fail('driver', driverName, Object.keys(drivers).join(' or '), 'ERR_VM_DRIVER');
  }
  return {
    driver,
    request: {
      name,
      memoryBytes,
      cpu,
      aperturePath: options.aperture,
      networkDescriptor: options.network?.descriptor,
    },
  };
}
