/** A port of a guest's loopback whose one connection reaches the host over the agent's channel. */
import { Duplex } from 'node:stream';

import { VmError } from './errors.js';
import type { GuestProcess } from './guest-process.js';

/** A port on which the guest listens for one connection. */
export interface GuestPort {
  /** On 127.0.0.1 of the guest. */
  readonly port: number;
  /** The host's end of the connection: what is written before somebody connects waits for it. */
  readonly connection: Duplex;
}

/** The standard streams of the relay as one connection, which ends when the guest's side does. */
class RelayedConnection extends Duplex {
  readonly #relay: GuestProcess;

  constructor(relay: GuestProcess) {
    super({ allowHalfOpen: false });
    this.#relay = relay;
    relay.stdout.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) relay.stdout.pause();
    });
    relay.stdout.once('end', () => this.push(null));
    // Who writes to a connection that the guest has closed finds it ended.
    relay.stdin.on('error', () => this.destroy());
  }

  override _read(): void {
    this.#relay.stdout.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#relay.stdin.writable) this.#relay.stdin.write(chunk, () => done());
    else done();
  }

  override _final(done: () => void): void {
    this.#relay.stdin.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#relay.stdin.end();
    done(error);
  }
}

/** Waits for the relay in the guest to say which port it has. */
export async function openGuestPort(vm: string, relay: GuestProcess): Promise<GuestPort> {
  const port = Number(await firstLine(relay));
  if (!(port > 0 && port < 65536)) {
    throw new VmError('ERR_VM_NETWORK', 'the guest could not listen on its loopback', {
      vm,
      call: 'vm.openPort',
    });
  }
  // However the relay ends, the connection ends with it, and says so by itself.
  relay.exited.catch(() => {});
  return { port, connection: new RelayedConnection(relay) };
}

async function firstLine(relay: GuestProcess): Promise<string> {
  await relay.started;
  let text = '';
  while (!text.includes('\n')) {
    const chunk = relay.stdout.read() as Buffer | null;
    if (chunk !== null) {
      text += chunk.toString('latin1');
      continue;
    }
    const ended = await new Promise<boolean>((resolve) => {
      relay.stdout.once('readable', () => resolve(relay.stdout.readableLength === 0));
    });
    if (ended) return '';
  }
  // Nobody knows the port yet, so nothing of a connection can have come.
  return text;
}
