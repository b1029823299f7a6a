/** A leased function in QEMU: on the command line, and plugged into and out of a running VM by QMP. */
import { PassthroughError } from './errors.js';

/**
 * What plugging needs of a client of QEMU's machine protocol (docs/interop/qmp-spec) after it has negotiated. Events are
 * emitted under their own names, such as `DEVICE_DELETED`; an `EventEmitter` has `on` and `off` as they are meant.
 */
export interface QmpConnection {
  /** Resolves with what the command returns; rejects with QEMU's description when it refuses. */
  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Calls the listener for each such event. */
  on(event: string, listener: QmpListener): unknown;
  /** Calls the listener no more. */
  off(event: string, listener: QmpListener): unknown;
}

/** Gets the `data` of an event. */
export type QmpListener = (data: Readonly<Record<string, unknown>>) => void;

/** Where in the VM the device is to be. */
export interface QemuDevice {
  /** By which QMP knows it; letters, digits, `-`, `.` and `_`, a letter first. */
  readonly id: string;
  /** The id of the bus. For q35 a root port of its own is needed to plug it later; pcie.0 takes no plugging. */
  readonly bus?: string;
}

/** How long to wait for the guest. */
export interface UnplugOptions {
  /** How long the guest may take to let go of it; 30 s by default. */
  readonly timeoutMs?: number;
  /** Ends the waiting; QEMU does not take the request back, so the guest may still let go of it later. */
  readonly signal?: AbortSignal;
}

const DEFAULT_UNPLUG_TIMEOUT_MS = 30_000;

/** @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT` */
function checkId(what: string, id: string): string {
  // id_wellformed of QEMU's documentation; it also keeps commas out of the option.
  if (/^[A-Za-z][A-Za-z0-9._-]*$/.test(id)) return id;
  throw new PassthroughError(
    'ERR_PASSTHROUGH_ARGUMENT',
    `${what} must be letters, digits, "-", "." and "_", a letter first, not ${JSON.stringify(id)}`,
    { operands: { [what]: id } },
  );
}

function properties(address: string, { id, bus }: QemuDevice): Record<string, string> {
  return {
    driver: 'vfio-pci',
    host: address,
    id: checkId('id', id),
    ...(bus === undefined ? {} : { bus: checkId('bus', bus) }),
  };
}

/** Arguments for QEMU's command line. */
export function qemuArguments(address: string, device: QemuDevice): string[] {
  const { driver, ...rest } = properties(address, device);
  const options = Object.entries(rest).map(([name, value]) => `${name}=${value}`);
  return ['-device', [driver, ...options].join(',')];
}

/** @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_PLUG` */
export async function plug(qmp: QmpConnection, address: string, device: QemuDevice): Promise<void> {
  const args = properties(address, device);
  try {
    await qmp.execute('device_add', args);
  } catch (cause) {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_PLUG',
      `QEMU did not take ${address} as ${device.id}: ${textOf(cause)}; ` +
        'give it a bus that takes plugging (-device pcie-root-port,id=…), and see preflight() for the rest',
      { operands: { address, ...args }, cause },
    );
  }
}

/**
 * Takes the device out of the VM; resolves when QEMU has let go of it. A guest that does not know plugging, or is not up
 * yet, never answers: then the device is still the VM's.
 *
 * @throws PassthroughError `ERR_PASSTHROUGH_UNPLUG`, or the signal's reason
 */
export async function unplug(
  qmp: QmpConnection,
  id: string,
  { timeoutMs = DEFAULT_UNPLUG_TIMEOUT_MS, signal }: UnplugOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  const fail = (reason: string, cause?: unknown): PassthroughError =>
    new PassthroughError('ERR_PASSTHROUGH_UNPLUG', `${id} is still plugged in: ${reason}`, {
      operands: { id, timeoutMs },
      cause,
    });
  const ending = new AbortController();
  const deleted = new Promise<void>((resolve, reject) => {
    const onDeleted: QmpListener = ({ device }) => {
      if (device === id) resolve();
    };
    const onRefused: QmpListener = ({ device }) => {
      if (device !== id) return;
      reject(fail('the guest refused to let go of it; stop what uses it in the guest'));
    };
    const onAbort = (): void => reject(signal?.reason as Error);
    const timer = setTimeout(() => {
      reject(
        fail(
          `the guest did not let go of it within ${timeoutMs} ms; stop what uses it there, or stop the VM. ` +
            'A guest that is still booting never answers: ask again',
        ),
      );
    }, timeoutMs);
    qmp.on('DEVICE_DELETED', onDeleted);
    qmp.on('DEVICE_UNPLUG_GUEST_ERROR', onRefused);
    signal?.addEventListener('abort', onAbort, { once: true });
    ending.signal.addEventListener('abort', () => {
      qmp.off('DEVICE_DELETED', onDeleted);
      qmp.off('DEVICE_UNPLUG_GUEST_ERROR', onRefused);
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(timer);
    });
  });
  try {
    // The event may come before the answer, so it is awaited from the start.
    await Promise.all([
      deleted,
      qmp.execute('device_del', { id }).catch((cause: unknown) => {
        throw fail(`QEMU said: ${textOf(cause)}`, cause);
      }),
    ]);
  } finally {
    ending.abort();
  }
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
