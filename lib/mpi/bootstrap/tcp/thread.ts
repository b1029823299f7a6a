/**
 * The thread that keeps a rank's connection to the hub, and in rank 0 the hub itself: it hears and answers while the rank
 * computes or blocks. Who failed elsewhere it marks in the host's aperture, where the rank sees it as it sees its neighbours.
 */
import { createServer } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

import { Aperture } from '../../../aperture/index.js';
import { Hub } from './hub.js';
import { Liaison, LiaisonError, nameOf } from './liaison.js';
import type { FromThread, ThreadOptions, ToThread } from './thread-messages.js';

/** For others to take their leave, after rank 0 has: they have all been in one barrier. */
const LEAVE_MS = 10_000;

const options = workerData as ThreadOptions;
const { hub: address, rank, size } = options;
const tell = (message: FromThread): void => parentPort?.postMessage(message);

let aperture: Aperture | undefined;
const failed = new Map<number, string>();

function mark(other: number, reason: string): void {
  // A neighbour's end is seen better by those who share its kernel.
  if (aperture?.participants.state(other) === 'empty') aperture.participants.fail(other, reason);
}

async function serve(): Promise<Hub> {
  const hub = new Hub(options);
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => hub.accept(socket));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...address, exclusive: true }, resolve);
  }).catch((cause: unknown) => {
    hub.close();
    const { message, code } = cause as NodeJS.ErrnoException;
    const hint =
      code === 'EADDRNOTAVAIL'
        ? '; it must be an address of the host where rank 0 runs'
        : code === 'EADDRINUSE'
          ? '; does another job use it? Give each a port of its own'
          : '';
    throw new LiaisonError(`rank 0 can't listen at ${nameOf(address)}: ${message}${hint}`);
  });
  void hub.done.then(() => server.close());
  return hub;
}

let hub: Hub | undefined;
let liaison: Liaison | undefined;
let isLost = false;

async function left(): Promise<void> {
  const late = new Promise((resolve) => setTimeout(resolve, LEAVE_MS).unref());
  await Promise.race([hub?.done, late]);
  hub?.close();
  liaison?.close();
  aperture?.close();
  tell({ type: 'left' });
  parentPort?.close();
}

function lost(why: string): void {
  isLost = true;
  const message = `the connection to rank 0 at ${nameOf(address)} was lost (${why})`;
  for (let other = 0; other < size; other++) mark(other, `is out of reach: ${message}`);
  tell({ type: 'problem', message });
}

async function run(): Promise<void> {
  if (rank === 0) hub = await serve();
  liaison = await Liaison.join(options, {
    onBrought: (values) => tell({ type: 'brought', values }),
    onFailed: (other, reason) => {
      failed.set(other, reason);
      mark(other, reason);
      tell({ type: 'problem', message: `rank ${other} ${reason}` });
    },
    onMissing: (message) => tell({ type: 'problem', message }),
    onLost: lost,
    onLeft: () => void left(),
  });
  parentPort?.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'bring':
        liaison?.bring(message.value);
        break;
      case 'watch':
        aperture = Aperture.open(message.aperture);
        for (const [other, reason] of failed) mark(other, reason);
        break;
      case 'leave':
        if (isLost) void left();
        else liaison?.leave();
        break;
    }
  });
  tell({ type: 'joined' });
}

run().catch((error: unknown) => {
  if (!(error instanceof LiaisonError)) throw error;
  tell({ type: 'problem', message: error.message });
  process.exit();
});
