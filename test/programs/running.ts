/** Runs programs over the software HCA to a bounded end. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Test } from 'tap';

import type { Surroundings } from './surroundings.js';

/** Many times what a program takes on a loaded machine: only one that hangs is ended. */
const LIMIT_MS = 60_000;
/** What a program gets to clean up, as mpirun does with its ranks. */
const GRACE_MS = 2000;

/** How a program ended, and all that it wrote, errors included. */
export interface Ended {
  readonly status: number | null;
  readonly output: string;
}

/** A program on its way to its end, wherever it runs. */
export interface Program {
  readonly ended: Promise<Ended>;
  end(reason: string): Promise<void>;
  /** Resolves when someone listens on the port where the program is, or the program has ended. */
  listening(port: number): Promise<void>;
}

export interface Options {
  readonly remap?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** What tap takes as `skip`: false where the program is installed. */
export function without(program: string, debianPackage: string): string | false {
  const found = spawnSync('sh', ['-c', 'command -v "$0"', program]).status === 0;
  return found ? false : `${program} is not in PATH; apt-get install ${debianPackage}`;
}

export class Running implements Program {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #output = '';

  constructor(
    t: Test,
    { enter, env }: Surroundings,
    words: readonly string[],
    options: Options = {},
  ) {
    const line = [...enter, ...words];
    const child = spawn(line[0] ?? '', line.slice(1), {
      env: { ...(options.remap === true ? env.remapped : env.plain), ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const keep = (text: string): void => void (this.#output += text);
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    this.#child = child;
    const limit = setTimeout(() => void this.end(`did not end within ${LIMIT_MS} ms`), LIMIT_MS);
    this.ended = once(child, 'close').then(([status]) => {
      clearTimeout(limit);
      return { status: status as number | null, output: this.#output };
    });
    t.teardown(() => this.end('the test ended before it'));
  }

  async end(reason: string): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#output += `\n[${reason}]\n`;
    this.#child.kill('SIGTERM');
    await Promise.race([this.ended, sleep(GRACE_MS, undefined, { ref: false })]);
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** Resolves when the output has a match. */
  async shown(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.#output) && this.#isAlive()) await sleep(10);
  }

  async listening(port: number): Promise<void> {
    const tables = ['tcp', 'tcp6'].map((name) => `/proc/${this.#child.pid}/net/${name}`);
    while (this.#isAlive() && !tables.some((path) => listensOn(port, textOf(path)))) {
      await sleep(10);
    }
  }

  #isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }
}

/** Whether a table of TCP sockets, as /proc/net/tcp is one, has someone who listens on the port. */
export function listensOn(port: number, table: string): boolean {
  const digits = port.toString(16).toUpperCase().padStart(4, '0');
  return new RegExp(`:${digits} \\S+ 0A `).test(table);
}

/** A file of /proc, empty when its process has ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** What both sides of a pair of programs wrote. */
export interface Outputs {
  readonly server: string;
  readonly client: string;
}

/**
 * Runs a program as server, on a port, then as client, and checks that both end well.
 *
 * @returns undefined if one ended badly, which has failed the test
 */
export async function runServed(
  t: Test,
  port: number,
  startServer: () => Program,
  startClient: () => Program,
): Promise<Outputs | undefined> {
  const server = startServer();
  await server.listening(port);
  const client = await startClient().ended;
  // A server whose client failed may wait for ever.
  if (client.status !== 0) await server.end('its client failed');
  const served = await server.ended;
  const outputs = { server: served.output, client: client.output };
  const ended = t.strictSame(
    { server: served.status, client: client.status },
    { server: 0, client: 0 },
    'both end with status 0',
    outputs,
  );
  return ended ? outputs : undefined;
}

/** The same over the software HCA, between two programs of this host. */
export async function runPair(
  t: Test,
  surroundings: Surroundings,
  words: readonly string[],
  options: Options & {
    /** More words for one side. */
    readonly server?: readonly string[];
    readonly client?: readonly string[];
  } = {},
): Promise<Outputs | undefined> {
  const port = await freePort();
  const line = [...words, '-p', String(port)];
  const start = (more: readonly string[]): Program =>
    new Running(t, surroundings, [...line, ...more], options);
  return runServed(
    t,
    port,
    () => start(options.server ?? []),
    () => start([...(options.client ?? []), 'localhost']),
  );
}
