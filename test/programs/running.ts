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

export interface Options {
  readonly remap?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** What tap takes as `skip`: false where the program is installed. */
export function without(program: string, debianPackage: string): string | false {
  const found = spawnSync('sh', ['-c', 'command -v "$0"', program]).status === 0;
  return found ? false : `${program} is not in PATH; apt-get install ${debianPackage}`;
}

export class Running {
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

  /** Resolves when someone in the program's network namespace listens on the port, or the program has ended. */
  async listening(port: number): Promise<void> {
    const listener = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `);
    while (this.#isAlive()) {
      const tables = ['tcp', 'tcp6'].map((name) => `/proc/${this.#child.pid}/net/${name}`);
      if (tables.some((path) => listener.test(textOf(path)))) return;
      await sleep(10);
    }
  }

  #isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }
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

/**
 * Runs a program as server and as client, and checks that both end well.
 *
 * @returns what they wrote, or undefined if one ended badly, which has failed the test
 */
export async function runPair(
  t: Test,
  surroundings: Surroundings,
  words: readonly string[],
  options: Options & {
    /** More words for one side. */
    readonly server?: readonly string[];
    readonly client?: readonly string[];
  } = {},
): Promise<{ server: string; client: string } | undefined> {
  const port = await freePort();
  const line = [...words, '-p', String(port)];
  const server = new Running(t, surroundings, [...line, ...(options.server ?? [])], options);
  await server.listening(port);
  const clientLine = [...line, ...(options.client ?? []), 'localhost'];
  const client = await new Running(t, surroundings, clientLine, options).ended;
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
