/**
 * Joins a job whose launcher knows nothing of apertures: the ranks tell each other where they run; the first of each host
 * makes the host's aperture and says where it is; the others open that and look whether it is the one that was meant.
 * Two ranks share memory if and only if they have opened the same aperture; the names of hosts are never compared.
 */
import { Aperture } from '../../aperture/index.js';
import { ViaductError } from '../../errors.js';
import { MpiError } from '../errors.js';
import { createJobAperture } from '../job-aperture.js';
import { areOversubscribed, ownCard, whyApart, type HostCard } from './host-card.js';
import { exchangeValues, type Meeting } from './meeting.js';
import { attach, type Membership } from './membership.js';

/** Where a host's aperture is, or why there is none; nothing from ranks that make none. */
type Offer =
  { readonly path: string; readonly identity: string } | { readonly failure: string } | null;

function refused(message: string, rank: number): MpiError {
  return new MpiError('ERR_MPI_LAUNCHER', `init: ${message}`, { call: 'init', operands: { rank } });
}

/**
 * Joins by a meeting, which it closes when that fails.
 *
 * @throws MpiError `ERR_MPI_LAUNCHER`, `ERR_MPI_LAYOUT`; ApertureError.
 */
export async function joinByMeeting(
  meeting: Meeting,
  onAperture?: (path: string) => void,
): Promise<Membership> {
  try {
    return await join(meeting, onAperture);
  } catch (error) {
    meeting.close();
    throw error;
  }
}

async function join(
  meeting: Meeting,
  onAperture: ((path: string) => void) | undefined,
): Promise<Membership> {
  const { rank, size } = meeting;
  const cards = await exchangeValues(meeting, ownCard());
  cards.forEach((card, other) => {
    if (card.version === cards[rank].version) return;
    throw refused(`rank ${other} has another version of viaduct; install one for all`, other);
  });
  const { aperture, problem } = await meetInAperture(meeting, cards);
  // Whoever starts ranks is, most often, the ancestor of those of one host.
  const layout = attach(aperture, { rank, size, reader: process.ppid });
  try {
    onAperture?.(aperture.path);
    // From here on every rank is in its host's table, where its death is seen.
    const seen = await exchangeValues(meeting, aperture.identity);
    const apart = seen.map((identity, other) =>
      identity === aperture.identity
        ? undefined
        : (whyApart(cards[rank], cards[other]) ?? problem ?? 'does not see the same memory'),
    );
    return {
      rank,
      size,
      aperture,
      layout,
      apart,
      oversubscribed: areOversubscribed(cards.filter((_, other) => apart[other] === undefined)),
      watchesPeers: true,
      exchange: (mine) => meeting.exchange(mine),
      leave: () => meeting.leave(),
      close: () => meeting.close(),
    };
  } catch (error) {
    aperture.close();
    throw error;
  }
}

/** This host's aperture, or one of this rank's own where the host's can't be opened. */
async function meetInAperture(
  meeting: Meeting,
  cards: readonly HostCard[],
): Promise<{ aperture: Aperture; problem?: string }> {
  const { rank, size } = meeting;
  const maker = cards.findIndex((card) => whyApart(cards[rank], card) === undefined);
  if (maker === rank) return { aperture: await make(meeting) };
  const offer = (await exchangeValues<Offer>(meeting, null))[maker];
  if (offer === null) throw refused(`rank ${maker} made no memory for this host`, maker);
  if ('failure' in offer) {
    throw refused(`rank ${maker} could not make the job's memory: ${offer.failure}`, maker);
  }
  try {
    const aperture = Aperture.open(offer.path);
    if (aperture.identity === offer.identity) return { aperture };
    // What else is there: a machine that was restored twice has one boot id in both.
    aperture.close();
    const problem = `does not see the same /proc (${offer.path} is other memory)`;
    return { aperture: createJobAperture(size), problem };
  } catch (error) {
    if (!(error instanceof ViaductError)) throw error;
    return { aperture: createJobAperture(size), problem: `can't share memory (${error.message})` };
  }
}

async function make(meeting: Meeting): Promise<Aperture> {
  let aperture: Aperture;
  try {
    aperture = createJobAperture(meeting.size);
  } catch (error) {
    // The others would wait for ever.
    const failure = error instanceof ViaductError ? error.message : String(error);
    await exchangeValues<Offer>(meeting, { failure: failure.slice(0, 400) });
    throw error;
  }
  try {
    const { path, identity } = aperture;
    await exchangeValues<Offer>(meeting, { path, identity });
    return aperture;
  } catch (error) {
    aperture.close();
    throw error;
  }
}
