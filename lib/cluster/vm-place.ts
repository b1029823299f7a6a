/** Runs each rank of a job in a virtual machine of its own, with the job's aperture in it. */
import {
  HostPlace,
  NETWORK_ADDRESSES,
  type Place,
  type RankProcess,
  type RankStart,
} from '../job/index.js';
import {
  VirtualLink,
  VirtualMachine,
  VmError,
  type DriverName,
  type GuestProcess,
} from '../vm/index.js';

/** A machine's address on the network of its job. */
const addressOf = (machine: number): string => `10.86.0.${machine + 1}`;

/** What Node.js and its rank need in a machine that several share. */
const RANK_MEMORY_BYTES = 256 * 2 ** 20;

/** What runs a rank's machine, or `'host'` for a rank without one. */
export type RankDriver = DriverName | 'host';

/** What machines the ranks get. */
export interface VmPlaceOptions {
  /**
   * What runs the machines; of several, the first machine gets the first, the second the second, and after the last comes
   * the first again. The ranks of one that gets `'host'` run on this host beside the machines.
   */
  readonly driver: RankDriver | readonly RankDriver[];
  /** How many ranks the job has. */
  readonly size: number;
  /** How many ranks share a machine: ranks 0 to `ranksPerVm` - 1 the first, and so on; 1 by default. */
  readonly ranksPerVm?: number;
  /** Joins the machines by a link of their own, which leads nowhere else. */
  readonly network?: boolean;
}

/** Lets a command read this process's standard input; returns how to stop that. */
function feedStandardInput(guest: GuestProcess): () => void {
  process.stdin.pipe(guest.stdin);
  // A command that closes its input has read what it wanted.
  guest.stdin.on('error', () => process.stdin.unpipe(guest.stdin));
  return () => {
    process.stdin.unpipe(guest.stdin);
    process.stdin.pause();
  };
}

/**
 * Virtual machines as the place where ranks run. All of them boot at the same time, one for each
 * rank, bound to the rank's processor; they are stopped when the job is over.
 *
 * ```ts
 * import { VmPlace } from 'viaduct/cluster';
 * import { runJob } from 'viaduct/job';
 *
 * const place = new VmPlace({ driver: 'uml', size: 2 });
 * await runJob({ size: 2, command: 'uname', args: ['-n'], place, bind: 'none' });
 * // prints [0] rank-0
 * // prints [1] rank-1
 * ```
 */
export class VmPlace implements Place {
  readonly #options: VmPlaceOptions;
  /** By number; a machine boots for the first of its ranks that starts. */
  readonly #machines = new Map<number, Promise<VirtualMachine>>();
  readonly #link: VirtualLink | undefined;
  readonly #host = new HostPlace();
  readonly #stopInput: (() => void)[] = [];

  /** @throws VmError when there is no link for that many machines, or for a rank on the host; when options are wrong. */
  constructor(options: VmPlaceOptions) {
    this.#options = options;
    if (!(Number.isInteger(this.#ranksPerVm) && this.#ranksPerVm >= 1)) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        `the ranks of a machine must be a whole number of at least 1, not ${options.ranksPerVm}`,
        { call: 'new VmPlace', operands: { ranksPerVm: options.ranksPerVm } },
      );
    }
    if (options.network === true && [options.driver].flat().includes('host')) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        'the network joins virtual machines and none of the host: leave it out, or the rank on the host',
        { call: 'new VmPlace', operands: { driver: options.driver } },
      );
    }
    // A link has two ends at least; a rank alone has the address of the first.
    if (options.network === true) this.#link = VirtualLink.create(Math.max(2, this.#machineCount));
  }

  /**
   * Boots a machine and starts the rank in it.
   *
   * @throws VmError `ERR_VM_DRIVER`, `ERR_VM_BOOT`, `ERR_VM_BOOT_TIMEOUT`, `ERR_VM_EXEC`, … as `VirtualMachine.boot`
   *   and `spawn` have it.
   */
  async start(start: RankStart): Promise<RankProcess> {
    const driver = this.#driverOf(start.rank);
    if (driver === 'host') return this.#host.start(start);
    const machine = this.#machineOf(start.rank);
    let booting = this.#machines.get(machine);
    if (booting === undefined) {
      booting = this.#boot(machine, driver, start);
      this.#machines.set(machine, booting);
    }
    const vm = await booting;
    const { port, connection } = await vm.openPort();
    const guest = vm.spawn(start.command, start.args, {
      cwd: start.cwd,
      env: {
        ...start.env,
        VIADUCT_APERTURE: vm.apertureDoor,
        ...(this.#ranksPerVm > 1 && driver === 'uml' ? { VIADUCT_OVERSUBSCRIBED: '1' } : {}),
        PMI_PORT: `127.0.0.1:${port}`,
        PMI_ID: String(start.rank),
        ...this.#addresses(),
      },
    });
    await guest.started;
    if (start.stdin === 'inherit') this.#stopInput.push(feedStandardInput(guest));
    else guest.stdin.end();
    return {
      stdout: guest.stdout,
      stderr: guest.stderr,
      pmi: connection,
      exited: guest.exited,
      kill: (signal) => {
        if (signal === 'SIGKILL' && this.#ranksPerVm === 1) void vm.kill();
        else guest.kill(signal);
      },
    };
  }

  /** Each machine is a node, and the host one more. */
  nodeOf(rank: number): number {
    return this.#driverOf(rank) === 'host' ? this.#machineCount : this.#machineOf(rank);
  }

  /** Stops all machines, then closes their link. */
  async close(): Promise<void> {
    for (const stop of this.#stopInput) stop();
    const stopped = [...this.#machines.values()].map(async (booting) => {
      // One that could not be booted has been told of as its ranks' failure.
      const vm = await booting.catch(() => undefined);
      await vm?.stop();
    });
    await Promise.all(stopped);
    await this.#host.close();
    this.#link?.close();
  }

  get #ranksPerVm(): number {
    return this.#options.ranksPerVm ?? 1;
  }

  get #machineCount(): number {
    return Math.ceil(this.#options.size / this.#ranksPerVm);
  }

  #machineOf(rank: number): number {
    return Math.floor(rank / this.#ranksPerVm);
  }

  #driverOf(rank: number): RankDriver {
    const { driver } = this.#options;
    if (typeof driver === 'string') return driver;
    return driver[this.#machineOf(rank) % driver.length] ?? 'host';
  }

  async #boot(machine: number, driver: DriverName, start: RankStart): Promise<VirtualMachine> {
    const { aperture, cpu, signal } = start;
    const end = this.#link?.ends[machine];
    const ranks = this.#ranksPerVm;
    return VirtualMachine.boot({
      driver,
      name: ranks === 1 ? `rank-${machine}` : `vm-${machine}`,
      aperture,
      signal,
      // Not a processor for each in User-Mode Linux, which has one.
      ...(ranks > 1 && driver === 'qemu' ? { vcpus: ranks } : {}),
      ...(ranks > 1 ? { memoryBytes: ranks * RANK_MEMORY_BYTES } : {}),
      ...(ranks > 1 || cpu === undefined ? {} : { cpu }),
      ...(end === undefined ? {} : { network: end, address: `${addressOf(machine)}/24` }),
    });
  }

  #addresses(): Record<string, string> {
    if (this.#link === undefined) return {};
    const addresses = Array.from({ length: this.#options.size }, (_, rank) =>
      addressOf(this.#machineOf(rank)),
    );
    return { [NETWORK_ADDRESSES]: addresses.join(',') };
  }
}
