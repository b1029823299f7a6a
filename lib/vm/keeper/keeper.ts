/**
 * The process that owns a machine with a name, so that commands of other processes find it: it brings the machine to
 * life, tells on descriptor 3 how that goes, then serves requests on the socket in the machine's folder. A machine that
 * ended by itself is kept for a while, so that its user learns why.
 */
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { PassThrough } from 'node:stream';

import { ViaductError } from '../../errors.js';
import { VirtualMachine } from '../virtual-machine.js';
import { JsonConnection } from './json-connection.js';
import { socketPath } from './machine-folder.js';
import type {
  FromKeeper,
  KeeperInstructions,
  MachineStatus,
  PlainError,
  Progress,
  ToKeeper,
} from './messages.js';
import { answer, type KeptMachine } from './requests.js';

/** How long the reason of an end that nobody asked for can be learnt. */
const LINGER_MS = 10 * 60_000;

const instructions = JSON.parse(process.argv[2] ?? '') as KeeperInstructions;

function plain(error: unknown): PlainError {
  if (error instanceof ViaductError) return { code: error.code, message: error.message };
  return { code: 'ERR_VM_KEEPER', message: error instanceof Error ? error.message : String(error) };
}

async function bringToLife(
  console: NodeJS.WritableStream,
  signal: AbortSignal,
): Promise<VirtualMachine> {
  const { name, origin, timeoutMs } = instructions;
  const options = { name, console, signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  if (origin.kind === 'boot') return VirtualMachine.boot({ ...origin.options, ...options });
  return origin.kind === 'restore'
    ? VirtualMachine.restore(origin.path, options)
    : VirtualMachine.receive(origin.path, options);
}

function keep(vm: VirtualMachine): KeptMachine {
  const startedAt = performance.now();
  let reason: string | undefined;
  let wanted = false;
  const kept: KeptMachine = {
    vm,
    status: (): MachineStatus => ({
      name: vm.name,
      driver: vm.driver,
      accelerator: vm.accelerator,
      state: vm.state,
      kernel: vm.kernel,
      keeperPid: process.pid,
      bootPhases: vm.bootPhases,
      uptimeMs: Math.round(performance.now() - startedAt),
      ...(reason === undefined ? {} : { reason }),
    }),
    dismiss: () => {
      wanted = true;
      if (vm.state === 'ended') leave();
    },
  };
  const server = createServer((socket) => {
    const connection = new JsonConnection<ToKeeper, FromKeeper>(socket);
    void answer(kept, connection)
      .catch((error: unknown) => connection.send({ type: 'error', error: plain(error) }))
      .finally(() => connection.end());
  });
  // Who has asked for the end gets its answer first.
  const leave = (): void => {
    server.close(() => process.exit(0));
    setTimeout(() => process.exit(0), 1000).unref();
  };
  server.listen(socketPath(vm.name));
  void vm.ended.then(({ error }) => {
    reason = error?.message;
    if (wanted || error === undefined) leave();
    else setTimeout(leave, LINGER_MS);
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      kept.dismiss();
      void vm.stop();
    });
  }
  return kept;
}

async function main(): Promise<void> {
  const progress = createWriteStream('', { fd: 3, encoding: 'utf8' });
  const tell = (message: Progress): void => void progress.write(`${JSON.stringify(message)}\n`);
  const starter = new AbortController();
  // Who asked for the machine is gone before it is there: then nobody wants it.
  progress.on('error', () => starter.abort());
  const giveUp = (): void => starter.abort();
  process.on('SIGTERM', giveUp).on('SIGINT', giveUp);
  const console = new PassThrough({ encoding: 'utf8' });
  console.on('data', (text: string) => {
    if (progress.writable) tell({ type: 'console', text });
  });
  try {
    const vm = await bringToLife(console, starter.signal);
    process.off('SIGTERM', giveUp).off('SIGINT', giveUp);
    progress.removeAllListeners('error').on('error', () => {});
    const kept = keep(vm);
    tell({ type: 'ready', status: kept.status() });
    progress.end();
  } catch (error) {
    tell({ type: 'error', error: plain(error) });
    progress.end(() => process.exit(1));
  }
}

await main();
