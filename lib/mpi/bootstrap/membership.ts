/** A rank's place in its job, as the channels need it, from whichever launcher there is. */
import { Aperture } from '../../aperture/index.js';
import { kernelId } from '../../aperture/kernel.js';
import { allowReader } from '../../aperture/process-copy.js';
import { Layout } from '../channels/aperture/layout.js';
import { MpiError } from '../errors.js';
import type { OwnLaunch } from './launcher.js';
import type { Meeting } from './meeting.js';

/** A rank that has joined. */
export interface Membership {
  readonly rank: number;
  readonly size: number;
  /** The memory of this host's ranks, to which this one is attached. */
  readonly aperture: Aperture;
  readonly layout: Layout;
  /**
   * For each rank, why it does not share that memory, as what follows `rank N`; undefined for those that do. Ranks have one
   * numbering in the aperture and in the world, so that the records of those that are apart are there, and tell of
   * their failures.
   */
  readonly apart: readonly (string | undefined)[];
  /** Whether there are more ranks than processors. */
  readonly oversubscribed: boolean;
  /** Whether ranks must find out by themselves when one dies, because the launcher doesn't tell. */
  readonly watchesPeers: boolean;
  /**
   * Before `init` returns, every rank may call it, as often as the others: resolves to what each has brought, by rank, up to
   * 32 KiB each.
   */
  exchange(mine: Uint8Array): Promise<Uint8Array[]>;
  /** Takes leave of the launcher, after the last message. */
  leave(): Promise<void>;
  /** Lets go of the launcher without a word, where joining fails. */
  close(): void;
}

/** A rank, and all its communicators, belongs to the one thread that joined the job. */
function checkThread(aperture: Aperture, rank: number): void {
  const { state, pid, kernelId: kernel } = aperture.participants.describe(rank);
  if (state !== 'attached' || pid !== process.pid || kernel !== kernelId()) return;
  throw new MpiError(
    'ERR_MPI_THREAD',
    `init: rank ${rank} belongs to another thread of this process, which alone may use its communicators; send that ` +
      "thread a message, or start this one with a rank of its own: new Worker(file, { env: { ...process.env, VIADUCT_RANK: '1' } })",
    { call: 'init', operands: { rank } },
  );
}

/** Attaches a rank to the aperture; closes it when that fails. */
export function attach(
  aperture: Aperture,
  { rank, size, reader }: { rank: number; size: number; reader: number | undefined },
): Layout {
  try {
    const layout = new Layout(aperture, size);
    if (reader !== undefined) allowReader(reader);
    checkThread(aperture, rank);
    aperture.attach(rank);
    return layout;
  } catch (error) {
    aperture.close();
    throw error;
  }
}

async function openPmi(): Promise<Meeting> {
  const { PmiMeeting } = await import('./pmi-meeting.js');
  return PmiMeeting.open(process.env);
}

/** Joins a job of `viaduct run`, which made the aperture before it started any rank. */
export function joinOwnJob(launch: OwnLaunch): Membership {
  const { rank, size, oversubscribed, launcherPid } = launch;
  const aperture = Aperture.open();
  const layout = attach(aperture, { rank, size, reader: launcherPid });
  // The launcher's PMI is there for programs of MPICH, and for what the aperture does not tell.
  let meeting: Promise<Meeting> | undefined;
  return {
    rank,
    size,
    aperture,
    layout,
    apart: Array<undefined>(size).fill(undefined),
    oversubscribed,
    watchesPeers: false,
    exchange: async (mine) => (await (meeting ??= openPmi())).exchange(mine),
    leave: async () => (await meeting)?.leave(),
    close: () => void meeting?.then((opened) => opened.close()),
  };
}
