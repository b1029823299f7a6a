/**
 * Two hosts as far as the network knows: network namespaces of their own, joined by a pair of virtual Ethernet
 * interfaces. Each is held by one process, and ends with it.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';

import { builtExecutable } from '../../lib/addon/index.js';

const execute = promisify(execFile);

/** RoCEv2 in packets of 4096 bytes, and TCP in as large ones. */
const MTU_BYTES = 9000;
const INTERFACE = 'wire0';
const ADDRESSES = ['10.78.0.1', '10.78.0.2'] as const;

export interface TwoHosts {
  /** What runs a command on the host: put it before the command. */
  readonly prefixes: readonly [readonly string[], readonly string[]];
  readonly addresses: readonly [string, string];
  close(): Promise<void>;
}

/** Why there can be none, or undefined. */
export async function lackingTwoHosts(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'network namespaces and their interfaces need root';
  try {
    await execute('unshare', ['--net', '--', 'true']);
    return undefined;
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return `no network namespace can be made here: ${words.trim()}`;
  }
}

/** A process in a network namespace of its own, and what enters that. */
async function holdNamespace(): Promise<{ holder: ChildProcess; prefix: string[]; pid: string }> {
  // It says when it is in the namespace.
  const inside = ['unshare', '--net', '--', 'sh', '-c', 'echo $$; exec sleep infinity'];
  const holder = spawn(
    builtExecutable('viaduct-guard'),
    ['--parent', String(process.pid), '--', ...inside],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const [first] = (await once(holder.stdout, 'data')) as [Buffer];
  const pid = first.toString().trim();
  return { holder, prefix: ['nsenter', '--target', pid, '--net', '--'], pid };
}

/** @throws Error of the command that failed; nothing is left then */
export async function openTwoHosts(): Promise<TwoHosts> {
  const held = [await holdNamespace(), await holdNamespace()] as const;
  const close = async (): Promise<void> => {
    await Promise.all(
      held.map(async ({ holder }) => {
        const ended = once(holder, 'exit');
        holder.kill('SIGTERM');
        await ended;
      }),
    );
  };
  const run = (side: 0 | 1, words: string): Promise<unknown> => {
    const [command = '', ...rest] = [...held[side].prefix, ...words.split(' ')];
    return execute(command, rest);
  };
  try {
    await run(
      0,
      `ip link add ${INTERFACE} mtu ${MTU_BYTES} type veth peer name ${INTERFACE} mtu ${MTU_BYTES} netns ${held[1].pid}`,
    );
    for (const side of [0, 1] as const) {
      await run(side, 'ip link set lo up');
      await run(side, `ip address add ${ADDRESSES[side]}/24 dev ${INTERFACE}`);
      await run(side, `ip link set ${INTERFACE} up`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { prefixes: [held[0].prefix, held[1].prefix], addresses: ADDRESSES, close };
}
