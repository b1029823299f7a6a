/** What is done with a virtual machine: boot, commands, files, memory, state, end. */
import { EventEmitter } from 'node:events';
import { closeSync } from 'node:fs';
import { isAbsolute } from 'node:path';

import { AGENT_PROGRAM, HOST_ROOT } from './agent.js';
import { checkOptions, type BootOptions } from './boot-options.js';
import { copyIn, copyOut, type CopyOptions } from './copy.js';
import type {
  Driver,
  MachineRequest,
  Monitor,
  SaveResult,
  StartedMachine,
} from './drivers/driver.js';
import { qemu } from './drivers/qemu.js';
import { uml } from './drivers/uml.js';
import { VmError } from './errors.js';
import { collect, type ExecOptions, type ExecResult } from './exec.js';
import { openGuestPort, type GuestPort } from './guest-port.js';
import type { GuestProcess, SpawnOptions } from './guest-process.js';
import { Machine, type BootPhases, type VmEvents, type VmExit } from './machine.js';
import { openSnapshot, readState, type MachineState } from './machine-state.js';
import { receiveMachine } from './migration.js';
import { migrate, snapshot } from './moving.js';
import { parseAddress } from './network-address.js';
import { FRAME, PayloadReader, PayloadWriter } from './protocol.js';
import { assertAble, type DriverName, type VmState } from './states.js';
import { measureTree, type GuestMemory, type VmStatistics } from './statistics.js';

export type { ExecOptions, ExecResult } from './exec.js';
export type { BootPhases, VmEvents, VmExit } from './machine.js';

/** What may differ between a machine and the one that takes up its state. */
export type RestoreOptions = Omit<
  BootOptions,
  | 'memoryBytes'
  | 'vcpus'
  | 'machineType'
  | 'accelerator'
  | 'programs'
  | 'aperture'
  | 'devices'
  | 'address'
  | 'modules'
>;

const drivers: Readonly<Record<DriverName, Driver>> = { uml, qemu };

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
   * `ERR_VM_PROTOCOL`, `ERR_VM_NETWORK`, with driver qemu `ERR_VM_KERNEL`, `ERR_VM_CACHE`, `ERR_VM_TOOL`; or the
   * signal's reason. Nothing is left running then.
   */
  static async boot(options: BootOptions = {}): Promise<VirtualMachine> {
    options.signal?.throwIfAborted();
    const { driverName, request } = checkOptions(options, 'VirtualMachine.boot');
    const driver = drivers[driverName];
    const start = await driver.prepare(request, options.signal);
    const vm = new VirtualMachine(driver, request, start(), options);
    await vm.#boot(options);
    return vm;
  }

  /**
   * A machine that goes on where a snapshot was taken, under the name that it had unless another is given. Commands
   * that ran then run on, and are in `processes`.
   *
   * @param options of a boot; what decides whether the state fits comes from the snapshot
   * @throws VmError `ERR_VM_STATE_FILE` (not a snapshot, or broken), and what `boot` throws
   */
  static async restore(path: string, options: RestoreOptions = {}): Promise<VirtualMachine> {
    options.signal?.throwIfAborted();
    const call = 'VirtualMachine.restore';
    assertAble(options.driver ?? 'qemu', 'restore', call);
    const descriptor = openSnapshot(path, 'r', call);
    try {
      return await VirtualMachine.#takeUp(
        readState(descriptor, path, call),
        descriptor,
        options,
        call,
      );
    } finally {
      closeSync(descriptor);
    }
  }

  /**
   * Waits for a machine that migrates to the Unix socket `path`, which is made for it, and resolves when it runs here.
   *
   * @throws VmError `ERR_VM_MIGRATION`, and what `restore` throws
   */
  static async receive(path: string, options: RestoreOptions = {}): Promise<VirtualMachine> {
    options.signal?.throwIfAborted();
    assertAble(options.driver ?? 'qemu', 'migrate', 'VirtualMachine.receive');
    return receiveMachine(path, options, (state, descriptor, onStarted) =>
      VirtualMachine.#takeUp(state, descriptor, options, 'VirtualMachine.receive', onStarted),
    );
  }

  static async #takeUp(
    state: MachineState,
    descriptor: number,
    options: RestoreOptions,
    call: string,
    onStarted = (): void => {},
  ): Promise<VirtualMachine> {
    const { name, memoryBytes, vcpus, machineType, accelerator } = state;
    if (state.network !== (options.network !== undefined)) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        `${call}: network must be ${state.network ? 'given: the machine has one' : 'left out: the machine has none'}`,
        { call, operands: { network: state.network } },
      );
    }
    const wanted = {
      programs: [],
      ...options,
      driver: 'qemu',
      memoryBytes,
      vcpus,
      machineType,
    } as const;
    const { request } = checkOptions({ name, ...wanted, accelerator }, call);
    const start = await qemu.prepare({ ...request, stateDescriptor: descriptor }, options.signal);
    const machine = start();
    const vm = new VirtualMachine(
      qemu,
      { ...request, stateDescriptor: descriptor },
      machine,
      options,
    );
    onStarted();
    await vm.#boot(options);
    return vm;
  }

  readonly #machine: Machine;
  #pausing: Promise<void> | undefined;

  private constructor(
    driver: Driver,
    request: MachineRequest,
    started: StartedMachine,
    options: BootOptions,
  ) {
    super();
    this.#machine = new Machine(driver, request, started, options, this);
  }

  /** Its name in errors, and its host name. */
  get name(): string {
    return this.#machine.name;
  }

  /** What runs it. */
  get driver(): DriverName {
    return this.#machine.driver.name;
  }

  /** Where it is between boot and end. */
  get state(): VmState {
    return this.#machine.state;
  }

  /** Resolves when the machine has ended, however. */
  get ended(): Promise<VmExit> {
    return this.#machine.ended;
  }

  /** The last 256 Ki characters of the console. */
  get consoleText(): string {
    return this.#machine.consoleText;
  }

  /** How long its start took. Both times are 0 until it has booted. */
  get bootPhases(): BootPhases {
    return this.#machine.bootPhases;
  }

  /** Release of the guest's kernel. */
  get kernel(): string {
    return this.#machine.kernel;
  }

  /** Process number of the machine's guard on the host: killing it ends the machine. */
  get guardPid(): number {
    return this.#machine.started.guard.pid ?? 0;
  }

  /** What runs the guest's code: `'kvm'`, or `'tcg'`, which is QEMU's emulation; `'none'` with driver uml. */
  get accelerator(): StartedMachine['accelerator'] {
    return this.#machine.started.accelerator;
  }

  /** Where the guest opens its aperture: what `VIADUCT_APERTURE` is for a program there. */
  get apertureDoor(): string {
    return this.#machine.driver.apertureDoor;
  }

  /** The guest's name for its end of a link. */
  get networkInterface(): string {
    return this.#machine.driver.networkInterface;
  }

  /**
   * Starts a command and gives its streams. What goes wrong is in the promises of the result.
   *
   * @throws VmError `ERR_VM_STATE` or `ERR_VM_ENDED` unless the machine is running, `ERR_VM_ARGUMENT`
   */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): GuestProcess {
    this.#machine.assertLegal('exec', 'vm.spawn');
    const { cwd = '/' } = options;
    if (!isAbsolute(cwd)) throw this.#argumentError('vm.spawn', 'cwd', cwd, 'an absolute path');
    const texts = [command, ...args, cwd, ...Object.entries(options.env ?? {}).flat()];
    const broken = texts.find((text) => text?.includes('\0'));
    if (broken !== undefined) {
      throw this.#argumentError('vm.spawn', 'a text', JSON.stringify(broken), 'without NUL');
    }
    const environment = { PATH: process.env['PATH'], HOME: '/tmp', ...options.env };
    return this.#machine.agent.spawn(
      {
        root: this.#root,
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
   * Has the guest listen for one connection on its loopback, which then reaches the host without a network.
   *
   * @throws VmError as `spawn`, or `ERR_VM_NETWORK`
   */
  openPort(): Promise<GuestPort> {
    this.#machine.assertLegal('exec', 'vm.openPort');
    return openGuestPort(this.name, this.#agentProgram(['relay']));
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
    this.#machine.assertLegal('configure the network', 'vm.configureNetwork');
    const parsed = parseAddress(address);
    if (parsed === undefined) {
      throw this.#argumentError('vm.configureNetwork', 'address', address, 'like 10.86.0.1/24');
    }
    const payload = new PayloadWriter().text(name).u32(parsed.address).u32(parsed.prefixLength);
    await this.#machine.agent.request(
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
    this.#machine.assertLegal('read its memory', 'vm.memory');
    const payload = await this.#machine.agent.request(
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
   * What the machine takes of its host, and its guest of its memory.
   *
   * @throws VmError `ERR_VM_ENDED`
   */
  async stats(): Promise<VmStatistics> {
    this.#machine.assertLegal('be measured', 'vm.stats');
    const guestMemory = this.state === 'running' ? await this.memory() : undefined;
    return { ...measureTree(this.guardPid), guestMemory };
  }

  /**
   * Halts the guest: its processors stop, its memory stays.
   *
   * @throws VmError `ERR_VM_UNSUPPORTED` (driver uml), `ERR_VM_STATE`, `ERR_VM_ENDED`, `ERR_VM_MONITOR`
   */
  async pause(): Promise<void> {
    const monitor = this.#machine.monitorFor('pause', 'vm.pause');
    this.#machine.step('paused');
    this.#pausing = this.#machine.tell('vm.pause', this.#halt(monitor));
    await this.#pausing;
  }

  /**
   * Lets a paused machine go on.
   *
   * @throws VmError `ERR_VM_UNSUPPORTED` (driver uml), `ERR_VM_STATE`, `ERR_VM_ENDED`, `ERR_VM_MONITOR`
   */
  async resume(): Promise<void> {
    const monitor = this.#machine.monitorFor('resume', 'vm.resume');
    await this.#pausing;
    if (this.state !== 'paused') return;
    await this.#machine.tell('vm.resume', monitor.resume());
    this.#machine.step('running');
    this.#machine.agent.wake();
  }

  /**
   * Takes memory from the guest, or gives it back, up to what it was booted with.
   *
   * @returns what the guest then has in bytes: more than was asked for if it needs more
   * @throws VmError `ERR_VM_UNSUPPORTED` (driver uml), `ERR_VM_ARGUMENT`, `ERR_VM_STATE`, `ERR_VM_ENDED`,
   * `ERR_VM_MONITOR`; the signal's reason
   */
  async resizeMemory(sizeBytes: number, options: { signal?: AbortSignal } = {}): Promise<number> {
    const monitor = this.#machine.monitorFor('resize its memory', 'vm.resizeMemory');
    const { memoryBytes } = this.#machine.request;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > memoryBytes) {
      const wanted = `from 1 to ${memoryBytes}, what the machine was booted with`;
      throw this.#argumentError('vm.resizeMemory', 'sizeBytes', String(sizeBytes), wanted);
    }
    return this.#machine.tell('vm.resizeMemory', monitor.resizeMemory(sizeBytes, options.signal));
  }

  /**
   * Copies a file, or a folder with all in it, from this host; permissions and symbolic links stay as they are. A
   * folder that is there already is added to.
   *
   * @param to the path that the copy has in the guest; its folder must be there
   * @throws VmError `ERR_VM_COPY`, `ERR_VM_ARGUMENT`, `ERR_VM_STATE`, `ERR_VM_ENDED`, `ERR_VM_EXEC_TIMEOUT`; the
   * signal's reason
   */
  async copyIn(from: string, to: string, options: CopyOptions = {}): Promise<void> {
    const guest = this.#copyProcess('vm.copyIn', 'unpack', to, options);
    await copyIn({ vm: this.name, call: 'vm.copyIn', from, to }, guest);
  }

  /**
   * Copies a file, or a folder with all in it, to this host: whole or not at all. Permissions stay, but for those
   * that make a program run as another user; a symbolic link that leads out of the folder fails the copy.
   *
   * @param to the path that the copy has here, where nothing may be but a file if it is one
   * @throws VmError as `copyIn`
   */
  async copyOut(from: string, to: string, options: CopyOptions = {}): Promise<void> {
    const guest = this.#copyProcess('vm.copyOut', 'pack', from, options);
    await copyOut({ vm: this.name, call: 'vm.copyOut', from, to }, guest);
  }

  /**
   * Writes the machine's state into a file, which must not be there; `VirtualMachine.restore` takes it up. The
   * machine runs on.
   *
   * @throws VmError `ERR_VM_UNSUPPORTED` (driver uml; a machine with the host's files, an aperture or devices),
   * `ERR_VM_STATE`, `ERR_VM_ENDED`, `ERR_VM_STATE_FILE`, `ERR_VM_MONITOR`; the signal's reason. The file is gone then.
   */
  async snapshot(path: string, options: { signal?: AbortSignal } = {}): Promise<SaveResult> {
    return snapshot(this.#machine, path, options.signal);
  }

  /**
   * Moves the running machine to whoever waits for it in `VirtualMachine.receive`, by the Unix socket `path`. Here it
   * has ended then; its commands run on there. If it fails, the machine runs on here.
   *
   * @throws VmError `ERR_VM_UNSUPPORTED` (as `snapshot`), `ERR_VM_STATE`, `ERR_VM_ENDED`, `ERR_VM_MIGRATION`,
   * `ERR_VM_MONITOR`; the signal's reason
   */
  async migrate(path: string, options: { signal?: AbortSignal } = {}): Promise<SaveResult> {
    return migrate(this.#machine, path, options.signal);
  }

  /** Commands that a snapshot or a migration brought along. */
  get processes(): readonly GuestProcess[] {
    return this.#machine.agent.adopted;
  }

  /**
   * Ends the guest's processes by SIGTERM, after `graceMs` by SIGKILL, and powers off; kills the machine if that
   * doesn't work. Harmless when it has ended.
   */
  async stop({ graceMs }: { graceMs?: number } = {}): Promise<VmExit> {
    if (this.state === 'paused') await this.resume().catch(() => this.kill());
    return this.#machine.stop(graceMs);
  }

  /** Ends the machine at once, as pulling the plug. Resolves when all of it is gone; harmless when it has ended. */
  async kill(): Promise<VmExit> {
    return this.#machine.kill();
  }

  /** As `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #boot(options: BootOptions): Promise<void> {
    await this.#machine.boot(options, async () => {
      if (options.address !== undefined) await this.configureNetwork(options.address);
    });
  }

  /** Nothing is on its way to the agent then, so that the state could be saved. */
  async #halt(monitor: Monitor): Promise<void> {
    try {
      await this.#machine.agent.rest();
      await monitor.pause();
    } catch (error) {
      if (this.state === 'paused') this.#machine.step('running');
      this.#machine.agent.wake();
      throw error;
    }
  }

  /** Where commands run: the guest's own files, or the host's. */
  get #root(): string {
    return this.#machine.request.programs === undefined ? HOST_ROOT : '/';
  }

  #copyProcess(
    call: string,
    action: 'pack' | 'unpack',
    path: string,
    options: CopyOptions,
  ): GuestProcess {
    this.#machine.assertLegal('copy files', call);
    if (!isAbsolute(path) || path.includes('\0')) {
      throw this.#argumentError(call, 'the path in the guest', path, 'absolute');
    }
    return this.#agentProgram([action, this.#root, path], options);
  }

  #agentProgram(args: readonly string[], options: SpawnOptions = {}): GuestProcess {
    const command = [AGENT_PROGRAM, ...args];
    return this.#machine.agent.spawn({ root: '/', cwd: '/', command, environment: [] }, options);
  }

  #argumentError(call: string, what: string, value: string, wanted: string): VmError {
    return new VmError('ERR_VM_ARGUMENT', `${call}: ${what} must be ${wanted}, not ${value}`, {
      vm: this.name,
      call,
      operands: { [what]: value },
    });
  }
}
