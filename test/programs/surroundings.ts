/**
 * What surrounds the programs of one test file: a network namespace, so that they meet no other users of the
 * device, and the environment in which `viaduct exec` runs programs.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import type { Test } from 'tap';

const main = fileURLToPath(new URL('../../lib/command/main.js', import.meta.url));

type Environment = Readonly<Record<string, string>>;

export interface Surroundings {
  /** What to put before a command to run it there. */
  readonly enter: readonly string[];
  /** Of `viaduct exec`, asked once, for to start it for each program would take most of the time. */
  readonly env: { readonly plain: Environment; readonly remapped: Environment };
}

/** What `viaduct exec` with these options gives a program. */
export async function environmentOf(...options: readonly string[]): Promise<Environment> {
  const line = [main, 'exec', ...options, '--', 'env', '--null'];
  const { stdout } = await promisify(execFile)(process.execPath, line);
  const entries = stdout.split('\0').filter((entry) => entry !== '');
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

/** Keeps the namespace alive until its input is closed, which also happens when this process dies. */
const HOLDER = 'ip link set lo up && echo ready && exec cat';

async function hold(t: Test, flags: readonly string[]): Promise<number | string> {
  const child = spawn('unshare', [...flags, 'sh', '-c', HOLDER], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const ended = once(child, 'close');
  try {
    const first = await Promise.race([once(child.stdout, 'data'), ended.then(() => undefined)]);
    if (first === undefined || child.pid === undefined) return complaint.trim();
  } catch (error) {
    return String(error);
  }
  t.teardown(async () => {
    child.stdin.end();
    await ended;
  });
  return child.pid;
}

/** Where the system permits none, the programs run beside all others, and a comment says why. */
async function openNamespace(t: Test): Promise<readonly string[]> {
  const isRoot = process.getuid?.() === 0;
  const holder = await hold(t, [...(isRoot ? [] : ['--user', '--map-root-user']), '--net']);
  if (typeof holder === 'string') {
    t.comment(`without a network namespace of their own: ${holder}`);
    return [];
  }
  const user = isRoot ? [] : ['--user', '--preserve-credentials'];
  return ['nsenter', '--target', String(holder), ...user, '--net', '--'];
}

export async function openSurroundings(t: Test): Promise<Surroundings> {
  const [plain, remapped] = [await environmentOf(), await environmentOf('--remap')];
  return { enter: await openNamespace(t), env: { plain, remapped } };
}
