/**
 * The types of the public interface, as programs that import the package by its name see them. It is not run: tsc
 * compiles it, and fails where an expected error is none.
 */
import { init, VirtualMachine, ViaductError } from 'viaduct';
import { Aperture, ApertureError, type Block } from 'viaduct/aperture';
import { runJob, type JobResult } from 'viaduct/job';
import {
  ANY_SOURCE,
  ANY_TAG,
  cartCreate,
  type CartesianCommunicator,
  type Communicator,
  type Completion,
  type ErrorHandler,
  intercommCreate,
  type Message,
  MpiError,
  type PersistentRequest,
  Request,
  Status,
  struct,
  vector,
  type WaitReport,
} from 'viaduct/mpi';
import {
  type CompletionError,
  type Endpoint,
  openDevice,
  SIGNALED,
  type WorkCompletion,
  UnsupportedError,
  VerbsError,
} from 'viaduct/verbs';
import {
  type DeviceLease,
  type Finding,
  PassthroughError,
  PassthroughHost,
  type PciDevice,
  type QmpConnection,
  VmError,
} from 'viaduct/vm';

/** Compiles if the value is of that type and of no wider one. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <A, B>(same: Same<A, B>): boolean => same;

export async function messages(): Promise<void> {
  await using job = await init();
  const { world } = job;
  is<typeof world, Communicator>(true);
  is<typeof world.rank, number>(true);

  world.sendSync(new Float64Array(4), 1);
  world.sendSync(new ArrayBuffer(4), 1, 7);
  world.sendSync(new SharedArrayBuffer(4), 1, 7);
  world.sendSync(Buffer.alloc(4), 1, 7);
  // @ts-expect-error a destination is needed
  world.sendSync(new Uint8Array(1));
  // @ts-expect-error a string is no memory
  world.sendSync('text', 1);
  // @ts-expect-error an array is no memory
  world.sendSync([1, 2, 3], 1);
  // @ts-expect-error ranks are numbers
  world.sendSync(new Uint8Array(1), '1');

  const status = world.recvSync(new Uint8Array(1), ANY_SOURCE, ANY_TAG, new Status());
  is<typeof status, Status>(true);
  const awaited = await world.recv(new Uint8Array(1), 0, 7, { timeoutMs: 5 });
  is<typeof awaited, Status>(true);
  const sent = await world.send(new Uint8Array(1), 0, 7, { signal: new AbortController().signal });
  is<typeof sent, void>(true);
  // @ts-expect-error an unknown option
  await world.recv(new Uint8Array(1), 0, 7, { timeout: 5 });

  const request = world.irecv(new Uint8Array(1));
  is<typeof request, Request>(true);
  const done = await request;
  is<typeof done, Status>(true);
  is<ReturnType<typeof request.test>, boolean>(true);
  Request.waitAllSync([request]);
  // @ts-expect-error requests come from isend and irecv; their rank cannot be changed
  world.rank = 3;
  await world.barrier();
  const any = await Request.waitAny([request, null, undefined]);
  is<typeof any, Completion | undefined>(true);
  const step = world.recvInit(new Uint8Array(1), 0);
  is<typeof step, PersistentRequest>(true);
  const { data } = await world.receive(ANY_SOURCE, 7, { timeoutMs: 5 });
  is<typeof data, Uint8Array>(true);
  const { value } = await world.recvObject(0);
  is<typeof value, unknown>(true);
  const message = world.improbe();
  is<typeof message, Message | undefined>(true);
  is<ReturnType<typeof job.waitReport>, WaitReport>(true);
}

export async function communicators(world: Communicator): Promise<void> {
  const row = await world.split({ color: 1, key: 2 });
  is<typeof row, Communicator>(true);
  const some = await world.split({ color: world.rank > 0 ? 1 : undefined });
  is<typeof some, Communicator | undefined>(true);
  // @ts-expect-error a color is needed, be it undefined
  await world.split({ key: 1 });
  const grid = await cartCreate(world, { dims: [2, 2], periods: true });
  is<typeof grid, CartesianCommunicator | undefined>(true);
  const between = await intercommCreate(row, { peerCommunicator: world, remoteLeader: 1 });
  // Ranks of two groups have no barrier here.
  is<'barrier' extends keyof typeof between ? true : false, false>(true);
  row.errorHandler = (error) => is<typeof error, MpiError>(true);
  is<Communicator['errorHandler'], ErrorHandler>(true);
  // @ts-expect-error no such handler
  row.errorHandler = 'ignore';
}

export function datatypes(world: Communicator): void {
  const column = vector({ count: 3, blockLength: 1, stride: 4, of: Float64Array });
  world.sendSync(column.view(new Float64Array(12), { offsetBytes: 8 }), 1);
  // @ts-expect-error a datatype is no memory
  world.sendSync(column, 1);
  struct([
    { offsetBytes: 0, of: column },
    { offsetBytes: 96, of: Int8Array, count: 3 },
  ]);
  // @ts-expect-error an array has no elements of one size
  vector({ count: 3, blockLength: 1, stride: 4, of: Array });
}

export function memory(): void {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  const block = aperture.allocate(64);
  is<typeof block, Block>(true);
  is<typeof block.buffer, ArrayBuffer>(true);
  // @ts-expect-error a size is needed
  Aperture.create({});
  // @ts-expect-error apertures are created or opened
  new Aperture();
}

export async function jobs(): Promise<void> {
  const result = await runJob({ size: 2, command: 'node', args: ['app.js'] });
  is<typeof result, JobResult>(true);
  // @ts-expect-error a command is needed
  await runJob({ size: 2 });
  await using vm = await VirtualMachine.boot({ driver: 'uml' });
  const { exitCode } = await vm.exec('true');
  is<typeof exitCode, number | null>(true);
  // @ts-expect-error no such driver
  await VirtualMachine.boot({ driver: 'xen' });
}

export async function passthrough(qmp: QmpConnection): Promise<void> {
  const host = new PassthroughHost();
  const [device] = host.rdmaDevices();
  is<NonNullable<typeof device>['pci'], PciDevice | undefined>(true);
  const findings = await host.preflight('0000:3b:00.0', { virtualFunctions: 4 });
  is<typeof findings, Finding[]>(true);
  // @ts-expect-error a number is needed
  await host.setVirtualFunctionCount('0000:3b:00.0');
  await host.setIdentity('0000:3b:00.1', { mac: '02:00:00:00:3b:01' });
  await using lease = await host.lease('0000:3b:00.1', { memoryBytes: 2 ** 30 });
  is<typeof lease, DeviceLease>(true);
  await VirtualMachine.boot({
    driver: 'qemu',
    devices: [{ qemuArguments: lease.qemuArguments({ id: 'hca0' }) }],
  });
  // @ts-expect-error an id is needed, by which it is unplugged
  await lease.plug(qmp, { bus: 'port1' });
  await lease.unplug(qmp, 'hca0', { timeoutMs: 5 });
  const error = new PassthroughError('ERR_PASSTHROUGH_BUSY', 'text');
  is<typeof error.findings, readonly Finding[]>(true);
}

export function codeOf(error: MpiError | ApertureError | VmError): string {
  const root: ViaductError = error;
  return root.code;
}

export async function verbs(): Promise<void> {
  using device = openDevice('softhca0', { provider: 'softhca' });
  // @ts-expect-error no such provider
  openDevice('softhca0', { provider: 'hardware' });
  const pd = device.allocPd();
  const region = pd.registerMemory(new Float64Array(8), ['local-write', 'remote-write']);
  is<typeof region.address, bigint>(true);
  is<typeof region.rkey, number>(true);
  // @ts-expect-error no such access
  pd.registerMemory(new Uint8Array(8), ['write']);
  const cq = device.createCq(64);
  const qp = pd.createQp({ type: 'RC', sendCq: cq, maxInlineBytes: 64 });
  // @ts-expect-error no such type
  pd.createQp({ type: 'RD', sendCq: cq });
  qp.connect(JSON.parse(JSON.stringify(qp.endpoint())) as Endpoint);
  qp.postRecv({ id: 1, sge: region.slice(0, 8) });
  qp.postSend({
    opcode: 'rdma-write',
    sge: region.slice(),
    remote: region.remote(),
    signaled: true,
  });
  // @ts-expect-error an opcode is needed
  qp.postSend({ sge: region.slice() });
  // @ts-expect-error addresses are bigint
  qp.postSend({ opcode: 'rdma-read', remote: { address: 5, rkey: 1 } });
  const requests = qp.sendRing(4);
  requests.rdmaWrite(
    0,
    1,
    region,
    0,
    8,
    region.addressLow,
    region.addressHigh,
    region.rkey,
    SIGNALED,
  );
  qp.post(requests, 0, 1);
  for await (const completion of cq) {
    is<typeof completion, WorkCompletion>(true);
    is<typeof completion.immediate, number | undefined>(true);
    is<typeof completion.error, CompletionError | undefined>(true);
  }
  const unsupported: VerbsError = new UnsupportedError('ERR_VERBS_UNSUPPORTED', 'text');
  is<typeof unsupported.verb, string | undefined>(true);
  // @ts-expect-error states are read by query() and changed by modify()
  qp.state = 'RTS';
}
