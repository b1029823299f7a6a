/** What a keeper does for each request. */
import type { VirtualMachine } from '../virtual-machine.js';
import type { JsonConnection } from './json-connection.js';
import type { FromKeeper, MachineStatus, Request, Results, ToKeeper } from './messages.js';

export interface KeptMachine {
  readonly vm: VirtualMachine;
  status(): MachineStatus;
  /** The machine's end is wanted, or known: the keeper need not stay after it. */
  dismiss(): void;
}

type Connection = JsonConnection<ToKeeper, FromKeeper>;

/** Reads the request of a connection and answers it; rejects with why it can't. */
export async function answer(kept: KeptMachine, connection: Connection): Promise<void> {
  const messages = connection.messages();
  const first = await messages.next();
  if (first.done === true || first.value.type !== 'request') return;
  const { request } = first.value;
  const result = await (request.op === 'exec'
    ? exec(kept, request, connection, messages)
    : act(kept, request, connection));
  await connection.send({ type: 'result', result });
}

async function act(
  kept: KeptMachine,
  request: Exclude<Request, { op: 'exec' }>,
  connection: Connection,
): Promise<Results[keyof Results]> {
  const { vm } = kept;
  switch (request.op) {
    case 'status':
      return kept.status();
    case 'stats':
      return vm.stats();
    case 'pause':
      await vm.pause();
      return null;
    case 'resume':
      await vm.resume();
      return null;
    case 'kill':
      await vm.kill();
      kept.dismiss();
      return null;
    case 'stop':
      await vm.stop(request.graceMs === undefined ? {} : { graceMs: request.graceMs });
      kept.dismiss();
      return null;
    case 'console':
      return showConsole(vm, request.follow, connection);
    case 'snapshot':
      return vm.snapshot(request.path, { signal: untilClosed(connection) });
    case 'migrate': {
      const saved = await vm.migrate(request.path, { signal: untilClosed(connection) });
      kept.dismiss();
      return saved;
    }
    case 'resizeMemory':
      return vm.resizeMemory(request.sizeBytes, { signal: untilClosed(connection) });
    case 'copyIn':
      await vm.copyIn(request.from, request.to, { signal: untilClosed(connection) });
      return null;
    case 'copyOut':
      await vm.copyOut(request.from, request.to, { signal: untilClosed(connection) });
      return null;
  }
}

/** Aborts when the one who asked is gone. */
function untilClosed(connection: Connection): AbortSignal {
  const controller = new AbortController();
  connection.onClose(() => controller.abort());
  return controller.signal;
}

async function showConsole(
  vm: VirtualMachine,
  follow: boolean,
  connection: Connection,
): Promise<null> {
  const past = vm.consoleText;
  if (!follow || vm.state === 'ended') {
    await connection.send({ type: 'text', text: past });
    return null;
  }
  const onLine = (line: string): void => void connection.send({ type: 'text', text: `${line}\n` });
  // What has been said of a line that is not complete comes with its rest.
  void connection.send({ type: 'text', text: past.slice(0, past.lastIndexOf('\n') + 1) });
  vm.on('console', onLine);
  await Promise.race([vm.ended, new Promise<void>((resolve) => connection.onClose(resolve))]);
  vm.off('console', onLine);
  return null;
}

async function exec(
  { vm }: KeptMachine,
  request: Extract<Request, { op: 'exec' }>,
  connection: Connection,
  messages: AsyncGenerator<ToKeeper, void, void>,
): Promise<Results['exec']> {
  const { command, args, cwd, env, timeoutMs } = request;
  const guest = vm.spawn(command, args, {
    signal: untilClosed(connection),
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  // A command need not read its input.
  guest.stdin.on('error', () => {});
  void (async () => {
    for await (const message of messages) {
      if (message.type === 'signal') guest.kill(message.signal);
      if (message.type === 'stdinEnd') guest.stdin.end();
      if (message.type === 'stdin' && !guest.stdin.destroyed) {
        const taken = guest.stdin.write(Buffer.from(message.bytes, 'base64'));
        if (!taken)
          await new Promise((resolve) => guest.stdin.once('drain', resolve).once('close', resolve));
      }
    }
  })().catch(() => connection.destroy());
  const passOn = async (type: 'stdout' | 'stderr'): Promise<void> => {
    for await (const chunk of guest[type] as AsyncIterable<Buffer>) {
      await connection.send({ type, bytes: chunk.toString('base64') });
    }
  };
  const output = Promise.all([passOn('stdout'), passOn('stderr')]);
  const exit = await guest.exited;
  await output;
  return exit;
}
