/** Runs each rank of a job in a virtual machine of its own, with the job's aperture in it. */
import { GUEST_DOOR } from '../aperture/index.js';
import { NETWORK_ADDRESSES, type Place, type RankProcess, type RankStart } from '../job/index.js';
import { VirtualLink, VirtualMachine, type GuestProcess } from '../vm/index.js';

/** A rank's address on the network of its job. */
const addressOf = (rank: number): string => `10.86.0.${rank + 1}`;

/** What machines the ranks get. */
export interface VmPlaceOptions {
  /** `uml` is User-Mode Linux. */
  readonly driver: 'uml';
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
  readonly #stopInput: (() => void)[] = [];

  /** @throws VmError when there is no link for that many machines. */
  constructor(options: VmPlaceOptions) {
    this.#options = options;
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
    const vm = await this.#boot(start);
    const guest = vm.spawn(start.command, start.args, {
      cwd: start.cwd,
      env: { ...start.env, VIADUCT_APERTURE: GUEST_DOOR, ...this.#addresses() },
    });
    await guest.started;
    if (start.stdin === 'inherit') this.#stopInput.push(feedStandardInput(guest));
    else guest.stdin.end();
    return {
      stdout: guest.stdout,
      stderr: guest.stderr,
      exited: guest.exited,
      kill: (signal) => {
        if (signal === 'SIGKILL') void vm.kill();
        else guest.kill(signal);
      },
    };
  }

  /** Stops all machines, then closes their link. */
  async close(): Promise<void> {
    for (const stop of this.#stopInput) stop();
    await Promise.all([...this.#machines].map((vm) => vm.stop()));
    this.#link?.close();
  }

  async #boot(start: RankStart): Promise<VirtualMachine> {
    const { rank, aperture, cpu, signal } = start;
    const end = this.#link?.ends[rank];
    const vm = await VirtualMachine.boot({
      driver: this.#options.driver,
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
