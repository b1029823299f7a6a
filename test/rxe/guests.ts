/**
 * QEMU guests of one network whose kernel has Soft-RoCE: an RDMA device `rxe0` that the system's libibverbs drives by
 * its provider rxe. They see the host's files, so Node.js, the addon and Debian's programs are there as here.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';

import type { Test } from 'tap';

import { findInPath } from '../../lib/vm/drivers/program.js';
import { type ExecOptions, VirtualLink, VirtualMachine } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import { Peer, PEER_PROGRAM } from '../verbs/traffic/peer.js';

export const RXE_DEVICE = 'rxe0';

/** Emulated and on a loaded host, everything takes long; only what hangs is ended. */
const BOOT_MS = 100_000;
const SILENCE_MS = 120_000;
const MEMORY_BYTES = 384 * 2 ** 20;
/** The largest path MTU of RoCE is 4096, and its headers come on top. */
const MTU_BYTES = 4500;

/** rdma_ucm is the connection manager, which perftest looks for; crc32_generic computes the ICRC. */
const MODULES = ['crc32_generic', 'rdma_rxe', 'rdma_ucm', 'sch_netem'];

function findProvider(): string | false {
  const folder = '/etc/libibverbs.d';
  const drivers = existsSync(folder) ? readdirSync(folder) : [];
  const names = drivers.map((name) => readFileSync(`${folder}/${name}`, 'utf8')).join('');
  return /^driver .*rxe/m.test(names)
    ? false
    : 'libibverbs has no provider rxe; apt-get install ibverbs-providers';
}

/** What tap takes as `skip`: false where all is there. */
export const withoutRxe =
  withoutQemu ||
  findProvider() ||
  (findInPath('rdma') === undefined && 'rdma is not in PATH; apt-get install iproute2');

export interface Guest {
  readonly vm: VirtualMachine;
  readonly address: string;
}

/** Runs a command of a guest that must succeed. */
export async function inGuest(
  { vm }: Guest,
  line: string,
  options: ExecOptions = {},
): Promise<string> {
  const [command = '', ...args] = line.split(' ');
  const { exitCode, signal, stdout, stderr } = await vm.exec(command, args, {
    timeoutMs: BOOT_MS,
    ...options,
  });
  if (exitCode === 0) return stdout;
  throw new Error(`VM ${vm.name}: ${line} ended with ${signal ?? exitCode}: ${stderr}${stdout}`);
}

async function boot(link: VirtualLink, index: number): Promise<Guest> {
  const network = link.ends[index];
  if (network === undefined) throw new Error(`the link has no end ${index}`);
  const vm = await VirtualMachine.boot({
    driver: 'qemu',
    name: `rxe-${index + 1}`,
    memoryBytes: MEMORY_BYTES,
    modules: MODULES,
    network,
    timeoutMs: BOOT_MS,
    silenceTimeoutMs: SILENCE_MS,
  });
  const address = `10.86.0.${index + 1}`;
  const guest = { vm, address };
  try {
    await vm.configureNetwork(`${address}/24`, { mtu: MTU_BYTES });
    await inGuest(guest, `rdma link add ${RXE_DEVICE} type rxe netdev ${vm.networkInterface}`);
    return guest;
  } catch (error) {
    await vm.kill();
    throw error;
  }
}

/** Two guests of one network; they end with the test. */
export async function bootGuests(t: Test): Promise<[Guest, Guest]> {
  const link = VirtualLink.create(2);
  const booting = [boot(link, 0), boot(link, 1)] as const;
  t.teardown(async () => {
    const booted = await Promise.allSettled(booting);
    for (const each of booted) if (each.status === 'fulfilled') await each.value.vm.kill();
    link.close();
  });
  return Promise.all(booting);
}

/** A process in the guest with sides of the traffic suite on its device. */
export function startPeer(t: Test, { vm }: Guest): Peer {
  const child = vm.spawn(process.execPath, [PEER_PROGRAM], {
    env: { VIADUCT_TEST_DEVICE: RXE_DEVICE },
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  const ended = child.exited.then(
    ({ exitCode, signal }) => `${signal ?? exitCode} in VM ${vm.name}: ${words}`,
    (error: unknown) => String(error),
  );
  const { stdin, stdout } = child;
  const peer = new Peer({ stdin, stdout, ended, kill: (signal) => child.kill(signal) });
  t.teardown(() => peer.close());
  return peer;
}
