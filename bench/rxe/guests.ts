/**
 * QEMU guests of one network whose kernel has Soft-RoCE: an RDMA device `rxe0` that the system's libibverbs drives by
 * its provider rxe. They see the host's files, so Node.js, the addon and Debian's programs are there as here.
 */
import { type ExecOptions, type LinkEnd, VirtualMachine } from '../../lib/vm/index.js';

export const RXE_DEVICE = 'rxe0';

/** Emulated and on a loaded host, everything takes long; only what hangs is ended. */
const LIMIT_MS = 100_000;
const SILENCE_MS = 120_000;
const MEMORY_BYTES = 768 * 2 ** 20;
/** The largest path MTU of RoCE is 4096, and its headers come on top. */
const MTU_BYTES = 4500;

/** crc32_generic computes the ICRC; rdma_ucm is the connection manager, which programs look for; sch_netem harms. */
const MODULES = ['crc32_generic', 'rdma_rxe', 'rdma_ucm', 'sch_netem'];

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
    timeoutMs: LIMIT_MS,
    ...options,
  });
  if (exitCode === 0) return stdout;
  throw new Error(`VM ${vm.name}: ${line} ended with ${signal ?? exitCode}: ${stderr}${stdout}`);
}

/** @param number from 1 on, another for each guest of a network: its addresses are 10.86.0.NUMBER and fd86::NUMBER */
export async function bootGuest(network: LinkEnd | undefined, number: number): Promise<Guest> {
  if (network === undefined) throw new Error(`the link has no end for guest ${number}`);
  const vm = await VirtualMachine.boot({
    driver: 'qemu',
    name: `rxe${number}`,
    memoryBytes: MEMORY_BYTES,
    modules: MODULES,
    network,
    timeoutMs: LIMIT_MS,
    silenceTimeoutMs: SILENCE_MS,
  });
  const address = `10.86.0.${number}`;
  const guest = { vm, address };
  try {
    await vm.configureNetwork(`${address}/24`, { mtu: MTU_BYTES });
    const sixth = `fd86::${number}/64 dev ${vm.networkInterface} nodad`;
    await inGuest(guest, `ip -6 address add ${sixth}`);
    await inGuest(guest, `rdma link add ${RXE_DEVICE} type rxe netdev ${vm.networkInterface}`);
    return guest;
  } catch (error) {
    await vm.kill();
    throw error;
  }
}
