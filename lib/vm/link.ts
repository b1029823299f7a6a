/** A virtual network between machines: frames go from one to the others and nowhere else. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';

import { addon, builtExecutable } from '../addon/index.js';
import { ClosedError } from '../errors.js';
import { VmError } from './errors.js';

/** One machine's end of a link. */
export interface LinkEnd {
  /** An open socket of Ethernet frames, one a datagram; it belongs to the link. */
  readonly descriptor: number;
}

interface NativeLink {
  makeSocketPair(bufferBytes: number): [number, number];
}

/** Room for frames that the other end has not taken yet. */
const BUFFER_BYTES = 4 * 2 ** 20;
const MAX_ENDS = 128;

/**
 * An isolated layer-2 network without root: two machines are joined by one socket pair, more by a hub that switches
 * frames between them. Close it after its machines have ended; it ends with this process.
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
   * @param ends how many machines it joins, 2 to 128
   * @throws VmError `ERR_VM_ARGUMENT`, `ERR_VM_LINK`
   */
  static create(ends = 2): VirtualLink {
    if (!Number.isSafeInteger(ends) || ends < 2 || ends > MAX_ENDS) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        `VirtualLink.create: ends must be an integer from 2 to ${MAX_ENDS}, not ${ends}`,
        { call: 'VirtualLink.create', operands: { ends } },
      );
    }
    if (ends === 2) return new VirtualLink(makeSocketPair(), undefined);
    const machines: number[] = [];
    const ports: number[] = [];
    try {
      for (let index = 0; index < ends; index += 1) {
        const [machine, port] = makeSocketPair();
        machines.push(machine);
        ports.push(port);
      }
      return new VirtualLink(machines, startHub(ports));
    } catch (error) {
      for (const descriptor of machines) closeSync(descriptor);
      throw error;
    } finally {
      for (const descriptor of ports) closeSync(descriptor);
    }
  }

  readonly #descriptors: readonly number[];
  readonly #hub: ChildProcess | undefined;
  #closed = false;

  private constructor(descriptors: readonly number[], hub: ChildProcess | undefined) {
    this.#descriptors = descriptors;
    this.#hub = hub;
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
    this.#hub?.kill('SIGKILL');
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    this.close();
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
