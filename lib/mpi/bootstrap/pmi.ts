/**
 * Joins a job whose launcher speaks PMI-1: the ranks publish where they run; the first of a host makes the host's
 * aperture and publishes its path; the others open that and look whether it is the one that was meant.
 */
import { Aperture } from '../../aperture/index.js';
import { ViaductError } from '../../errors.js';
import { PmiClient, PmiError } from '../../pmi/index.js';
import { MpiError } from '../errors.js';
import { createJobAperture } from '../job-aperture.js';
import { areOversubscribed, obstacle, ownCard, type HostCard } from './host-card.js';
import { attach, type Membership } from './membership.js';

/** The rank that makes the aperture. */
const MAKER = 0;
const APERTURE_KEY = 'viaduct-aperture';
const cardKey = (rank: number): string => `viaduct-host-${rank}`;

/** Where the aperture is, or why there is none. */
type Offer = { readonly path: string; readonly identity: string } | { readonly failure: string };

// Values of PMI-1 are printable and without spaces.
const encode = (value: HostCard | Offer): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url');

async function read<T>(pmi: PmiClient, key: string): Promise<T> {
  const text = await pmi.get(key);
  return JSON.parse(Buffer.from(text, 'base64url').toString()) as T;
}

function refused(message: string, details: { rank: number; cause?: unknown }): MpiError {
  const { rank, cause } = details;
  return new MpiError('ERR_MPI_LAUNCHER', `init: ${message}`, {
    call: 'init',
    operands: { rank },
    cause,
  });
}

/**
 * Joins by the connection that the launcher left to this process.
 *
 * @throws MpiError `ERR_MPI_LAUNCHER`, `ERR_MPI_LAYOUT`; ApertureError.
 */
export async function joinByPmi(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Membership> {
  let pmi: PmiClient | undefined;
  try {
    pmi = await PmiClient.open(env);
    return await join(pmi);
  } catch (error) {
    pmi?.close();
    if (!(error instanceof PmiError)) throw error;
    throw new MpiError('ERR_MPI_LAUNCHER', `init: ${error.message}`, {
      call: 'init',
      operands: error.operands,
      cause: error,
    });
  }
}

async function join(pmi: PmiClient): Promise<Membership> {
  const { rank, size } = pmi;
  const cards = await exchangeCards(pmi);
  const aperture = rank === MAKER ? await make(pmi) : await find(pmi);
  // Whoever starts ranks by PMI is the ancestor of those of one host.
  const layout = attach(aperture, { rank, size, reader: process.ppid });
  // From here on every rank is in the table, where its death is seen.
  await pmi.barrier();
  return {
    rank,
    size,
    aperture,
    layout,
    oversubscribed: areOversubscribed(cards),
    watchesPeers: true,
    leave: () => pmi.finalize(),
  };
}

async function exchangeCards(pmi: PmiClient): Promise<HostCard[]> {
  const mine = ownCard();
  await pmi.put(cardKey(pmi.rank), encode(mine));
  await pmi.barrier();
  const cards: HostCard[] = [];
  for (let rank = 0; rank < pmi.size; rank++) {
    const card = rank === pmi.rank ? mine : await readCard(pmi, rank);
    const why = obstacle(mine, card);
    if (why !== undefined) throw refused(`rank ${rank} ${why}`, { rank });
    cards.push(card);
  }
  return cards;
}

async function readCard(pmi: PmiClient, rank: number): Promise<HostCard> {
  try {
    return await read<HostCard>(pmi, cardKey(rank));
  } catch (cause) {
    if (!(cause instanceof PmiError) || cause.code !== 'ERR_PMI_REFUSED') throw cause;
    throw refused(
      `rank ${rank} has not said where it runs; are all ranks programs of this version of viaduct? (${cause.message})`,
      { rank, cause },
    );
  }
}

async function make(pmi: PmiClient): Promise<Aperture> {
  let aperture: Aperture;
  try {
    aperture = createJobAperture(pmi.size);
  } catch (error) {
    // The others would wait for ever.
    const failure = error instanceof ViaductError ? error.message : String(error);
    await offer(pmi, { failure: failure.slice(0, 400) });
    throw error;
  }
  try {
    await offer(pmi, { path: aperture.path, identity: aperture.identity });
  } catch (error) {
    aperture.close();
    throw error;
  }
  return aperture;
}

async function offer(pmi: PmiClient, what: Offer): Promise<void> {
  await pmi.put(APERTURE_KEY, encode(what));
  await pmi.barrier();
}

async function find(pmi: PmiClient): Promise<Aperture> {
  await pmi.barrier();
  const found = await read<Offer>(pmi, APERTURE_KEY);
  if ('failure' in found) {
    throw refused(`rank ${MAKER} could not make the job's memory: ${found.failure}`, {
      rank: MAKER,
    });
  }
  const aperture = Aperture.open(found.path);
  if (aperture.identity !== found.identity) {
    aperture.close();
    throw refused(
      `${found.path} is not the memory of rank ${MAKER}; do all ranks see the same /proc?`,
      { rank: MAKER },
    );
  }
  return aperture;
}
