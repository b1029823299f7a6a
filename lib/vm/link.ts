/** A virtual network between machines: frames go from one to the others and nowhere else. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';

import { addon, builtExecutable } from '../addon/index.js';
import { ClosedError } from '../errors.js';
import { VmError } from './errors.js';
import { parseAddress } from './network-address.js';

/** One machine's end of a link. */
export interface LinkEnd {
  /** An open socket of Ethernet frames, one a datagram; it belongs to the link. */
  readonly descriptor: number;
}

interface NativeLink {
  makeSocketPair(bufferBytes: number): [number, number];
  makeHostInterface(address: number, prefixLength: number): [tap: number, networkNamespace: number];
}

/** What a link has beside its machines. */
export interface LinkOptions {
  /**
   * Joins this host to the link, as root: as the bridge `viaduct0` with this IPv4 address and prefix length, such as
   * `10.86.0.254/24`, in a network namespace of its own. See `namespacePath`.
   */
  readonly hostAddress?: string;
}

/** Room for frames that the other end has not taken yet. */
const BUFFER_BYTES = 4 * 2 ** 20;
const MAX_ENDS = 128;

/**
 * An isolated layer-2 network, without root: two machines are joined by one socket pair; more, or the host with them, by
 * a hub that switches frames between them. Close it after its machines have ended; it ends with this process, and leaves nothing.
 *
 * ```ts
 * import { VirtualLink, VirtualMachine } from 'viaduct/vm';
 *
 * using link = VirtualLink.create(2);
 * const [network, other] = link.ends;
 * await using server = await VirtualMachine.boot({ network: network!, address: '10.86.0.1/24' });
 * await using client = await VirtualMachine.boot({ network: other!, address: '10.86.0.2/24' });
 *
 * const serve = "net.createServer((socket) => socket.end('hello')).listen(1, () => console.log('up'))";
 * const serving = server.spawn('node', ['-e', serve]);
 * await new Promise((up) => serving.stdout.once('data', up));
 * const { stdout } = await client.exec('node', ['-e', "net.connect(1, '10.86.0.1').pipe(process.stdout)"]);
 * console.log(stdout); // prints hello
 * ```
 */
export class VirtualLink {
  /**
   * @param ends how many machines it joins, 2 to 128; 1 where the host is joined
   * @throws VmError `ERR_VM_ARGUMENT`, `ERR_VM_LINK`
   */
  static create(ends = 2, { hostAddress }: LinkOptions = {}): VirtualLink {
    const least = hostAddress === undefined ? 2 : 1;
    if (!Number.isSafeInteger(ends) || ends < least || ends > MAX_ENDS) {
      throw argumentError('ends', ends, `an integer from ${least} to ${MAX_ENDS}`);
    }
    if (ends === 2 && hostAddress === undefined) return new VirtualLink(makeSocketPair());
    const machines: number[] = [];
    // Closed here in any case: the hub has its own then.
    const ports: number[] = [];
    let networkNamespace: number | undefined;
    try {
      if (hostAddress !== undefined) {
        const [tap, namespace] = makeHostInterface(hostAddress);
        ports.push(tap);
        networkNamespace = namespace;
      }
      for (let index = 0; index < ends; index += 1) {
        const [machine, port] = makeSocketPair();
        machines.push(machine);
        ports.push(port);
      }
      return new VirtualLink(machines, startHub(ports), networkNamespace);
    } catch (error) {
      for (const descriptor of machines) closeSync(descriptor);
      if (networkNamespace !== undefined) closeSync(networkNamespace);
      throw error;
    } finally {
      for (const descriptor of ports) closeSync(descriptor);
    }
  }

  readonly #descriptors: readonly number[];
  readonly #hub: ChildProcess | undefined;
  readonly #networkNamespace: number | undefined;
  #closed = false;

  private constructor(
    descriptors: readonly number[],
    hub?: ChildProcess,
    networkNamespace?: number,
  ) {
    this.#descriptors = descriptors;
    this.#hub = hub;
    this.#networkNamespace = networkNamespace;
  }

  /**
   * Where `nsenter --net=PATH` finds the network namespace of the host's interface, `viaduct0`, while this process lives
   * and the link is open; undefined where the host is not joined.
   *
   * @throws ClosedError
   */
  get namespacePath(): string | undefined {
    if (this.#closed) throw new ClosedError('link', 'link.namespacePath');
    if (this.#networkNamespace === undefined) return undefined;
    return `/proc/${process.pid}/fd/${this.#networkNamespace}`;
  }

  /**
   * One end for each machine, to be given to `VirtualMachine.boot` as `network`.
   *
   * @throws ClosedError
   */
  get ends(): readonly LinkEnd[] {
    if (this.#closed) throw new ClosedError('link', 'link.ends');
    return this.#descriptors.map((descriptor) => ({ descriptor }));
  }

  /** Machines that are still joined lose their network. Closing twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const descriptor of this.#descriptors) closeSync(descriptor);
    if (this.#networkNamespace !== undefined) closeSync(this.#networkNamespace);
    this.#hub?.kill('SIGKILL');
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function argumentError(what: string, value: unknown, wanted: string): VmError {
  return new VmError(
    'ERR_VM_ARGUMENT',
    `VirtualLink.create: ${what} must be ${wanted}, not ${String(value)}`,
    { call: 'VirtualLink.create', operands: { [what]: value } },
  );
}

function makeHostInterface(hostAddress: string): [tap: number, networkNamespace: number] {
  const parsed = parseAddress(hostAddress);
  if (parsed === undefined) throw argumentError('hostAddress', hostAddress, 'like 10.86.0.254/24');
  try {
    return (addon() as NativeLink).makeHostInterface(parsed.address, parsed.prefixLength);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_LINK',
      `VirtualLink.create: the host can't be joined: ${cause instanceof Error ? cause.message : String(cause)}; ` +
        'it takes root and /dev/net/tun; leave hostAddress out for a link of machines alone',
      { call: 'VirtualLink.create', operands: { hostAddress }, cause },
    );
  }
}

function makeSocketPair(): [number, number] {
  try {
    return (addon() as NativeLink).makeSocketPair(BUFFER_BYTES);
  } catch (cause) {
    throw new VmError(
      'ERR_VM_LINK',
      `VirtualLink.create: ${cause instanceof Error ? cause.message : String(cause)}; ` +
        'if too many files are open, raise the limit with `ulimit -n`',
      { call: 'VirtualLink.create', cause },
    );
  }
}

function startHub(ports: readonly number[]): ChildProcess {
  const numbers = ports.map((_, index) => String(index + 3));
  const hub = spawn(
    builtExecutable('viaduct-guard'),
    ['--parent', String(process.pid), '--', builtExecutable('viaduct-hub'), ...numbers],
    // Detached, because a Ctrl-C in the owner's terminal is not meant for the hub.
    { stdio: ['ignore', 'ignore', 'inherit', ...ports], cwd: '/', detached: true },
  );
  // Without a hub the machines find that nobody answers; spawn's own failures come at once below.
  hub.on('error', () => {});
  if (hub.pid === undefined) {
    throw new VmError(
      'ERR_VM_LINK',
      `VirtualLink.create: ${builtExecutable('viaduct-guard')} could not be started; ` +
        'build it with `npm rebuild viaduct`',
      { call: 'VirtualLink.create', operands: { ends: ports.length } },
    );
  }
  hub.unref();
  return hub;
}
