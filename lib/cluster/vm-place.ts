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

/** A rank's address on the network of its job. */
const addressOf = (rank: number): string => `10.86.0.${rank + 1}`;

/** What runs a rank's machine, or `'host'` for a rank without one. */
export type RankDriver = DriverName | 'host';

/** What machines the ranks get. */
export interface VmPlaceOptions {
  /**
   * What runs the machines; of several, rank 0 gets the first, rank 1 the second, and after the last comes the first
   * again. A rank that gets `'host'` runs on this host beside the machines.
   */
  readonly driver: RankDriver | readonly RankDriver[];
  /** How many ranks the job has. */
  readonly size: number;
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
  readonly #machines = new Set<VirtualMachine>();
  readonly #link: VirtualLink | undefined;
  readonly #host = new HostPlace();
  readonly #stopInput: (() => void)[] = [];

  /** @throws VmError when there is no link for that many machines, or for a rank on the host. */
  constructor(options: VmPlaceOptions) {
    this.#options = options;
    if (options.network === true && [options.driver].flat().includes('host')) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        'the network joins virtual machines and none of the host: leave it out, or the rank on the host',
        { call: 'new VmPlace', operands: { driver: options.driver } },
      );
    }
    // A link has two ends at least; a rank alone has the address of the first.
    if (options.network === true) this.#link = VirtualLink.create(Math.max(2, options.size));
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
    const vm = await this.#boot(start, driver);
    const { port, connection } = await vm.openPort();
    const guest = vm.spawn(start.command, start.args, {
      cwd: start.cwd,
      env: {
        ...start.env,
        VIADUCT_APERTURE: vm.apertureDoor,
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
        if (signal === 'SIGKILL') void vm.kill();
        else guest.kill(signal);
      },
    };
  }

  /** Each machine is a node, and the host one more. */
  nodeOf(rank: number): number {
    return this.#driverOf(rank) === 'host' ? this.#options.size : rank;
  }

  /** Stops all machines, then closes their link. */
  async close(): Promise<void> {
    for (const stop of this.#stopInput) stop();
    await Promise.all([...this.#machines].map((vm) => vm.stop()));
    await this.#host.close();
    this.#link?.close();
  }

  #driverOf(rank: number): RankDriver {
    const { driver } = this.#options;
    return typeof driver === 'string' ? driver : (driver[rank % driver.length] ?? 'host');
  }

  async #boot(start: RankStart, driver: DriverName): Promise<VirtualMachine> {
    const { rank, aperture, cpu, signal } = start;
    const end = this.#link?.ends[rank];
    const vm = await VirtualMachine.boot({
      driver,
      name: `rank-${rank}`,
      aperture,
      signal,
      ...(cpu === undefined ? {} : { cpu }),
      ...(end === undefined ? {} : { network: end, address: `${addressOf(rank)}/24` }),
    });
    this.#machines.add(vm);
    return vm;
  }

  #addresses(): Record<string, string> {
    if (this.#link === undefined) return {};
    const addresses = Array.from({ length: this.#options.size }, (_, rank) => addressOf(rank));
    return { [NETWORK_ADDRESSES]: addresses.join(',') };
  }
}
