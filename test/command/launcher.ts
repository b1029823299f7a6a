/** Runs the real command `viaduct` in a process of its own, and looks for what it leaves behind. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import type { Test } from 'tap';

const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));

/** How the command ended, and all that it wrote. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LaunchOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A command that runs the rest of its line. */
  readonly within?: readonly string[];
}

/** A command that runs. */
export class Launch {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(t: Test, args: readonly string[], options: LaunchOptions = {}) {
    const [command, ...words] = [...(options.within ?? []), process.execPath, main, ...args];
    const child = spawn(command, words, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    // A command that does not read its input closes it.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
    this.child = child;
    this.ended = once(child, 'close').then(([status, signal]) => ({
      status: status as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
    t.teardown(() => child.kill('SIGKILL'));
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the command could not be started');
    return this.child.pid;
  }

  /** Sends a signal to all of the foreground, as a terminal does on Ctrl-C. */
  signalForeground(signal: NodeJS.Signals): void {
    process.kill(-this.pid, signal);
  }

  /** Waits until the standard output shows `count` matches; each as its first group. */
  async shown(pattern: RegExp, count: number): Promise<string[]> {
    for (;;) {
      const found = [...this.stdout.matchAll(pattern)].map((match) => match.at(-1) ?? '');
      if (found.length >= count) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`ended before it showed ${pattern}: ${this.stdout}${this.stderr}`);
      }
      await sleep(10);
    }
  }
}

/** Runs `viaduct` with these arguments to its end. */
export function viaduct(
  t: Test,
  args: readonly string[],
  options: LaunchOptions = {},
): Promise<Ended> {
  return new Launch(t, args, options).ended;
}

/** Whether a process is there and is not just waiting to be reaped. */
export function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return false;
  }
}

/** Waits for these processes to be gone; tap's own timeout is the limit. */
export async function allGone(pids: readonly (number | string)[]): Promise<void> {
  while (pids.some((pid) => isRunning(Number(pid)))) await sleep(10);
}

/** The pids in lines such as `[0] pid 1234`. */
export function pidsIn(output: string): number[] {
  return [...output.matchAll(/pid (\d+)/g)].map((match) => Number(match[1]));
}

/** What to put after the options to run one of the programs in test/job/programs. */
export function rankProgram(name: string, ...args: string[]): string[] {
  const path = fileURLToPath(new URL(`../job/programs/${name}.js`, import.meta.url));
  return ['--', process.execPath, path, ...args];
}

/** What to put after the options to run a script of the shell. */
export function shell(script: string): string[] {
  return ['--', 'sh', '-c', script];
}

/** Text in a shell that prints its own pid, in the form that `pidsIn` finds. */
export const PRINT_PID = 'echo pid $$;';

/** All processes below one, at this moment. */
export function descendantsOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = [...(children.get(pid) ?? [])];
  for (const child of found) found.push(...(children.get(child) ?? []));
  return found;
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** The name of a process's program. */
export function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
