/** Opens the verbs channel as the environment says. */
import { openDevice, VerbsError } from '../../../verbs/index.js';
import { MpiError } from '../../errors.js';
import type { Incoming } from '../../incoming.js';
import type { ChannelChoice } from '../choice.js';
import type { Card, CardBoard } from './card.js';
import { VerbsChannel } from './channel.js';
import { ExchangedCards } from './exchanged-cards.js';
import { MOST_RANKS } from './numbers.js';

/** What the buffers of one connection may take, about; the longer the messages, the fewer there are. */
const CONNECTION_BYTES = 2 ** 21;
const FEWEST_CREDITS = 8;
const MOST_CREDITS = 32;
const BUFFERS_FOR_A_CREDIT = 3.5;

/** What is needed to open it. */
export interface VerbsOptions {
  readonly rank: number;
  /** Of the job. */
  readonly size: number;
  /** Ranks that it serves. */
  readonly ranks: readonly number[];
  readonly board: CardBoard;
  readonly incoming: Incoming;
  readonly choice: ChannelChoice;
  readonly fragmentBytes: number;
  readonly unexpectedBytes: number;
  /** Where some ranks of the job share no memory, `exchange` of the membership: cards go by that instead of the board. */
  readonly exchange: ((mine: Uint8Array) => Promise<Uint8Array[]>) | undefined;
}

/** @throws MpiError `ERR_MPI_DEVICE` when the device can't be used. */
export async function openVerbsChannel(
  options: VerbsOptions,
  env: NodeJS.ProcessEnv,
): Promise<VerbsChannel> {
  const { exchange } = options;
  if (exchange === undefined) return open(options, env);
  // Other hosts are reached by RoCE alone; a device of hardware is what it is.
  env['VIADUCT_LINK_LAYER'] ??= 'ethernet';
  // Nor are those of this host in another pid namespace: neither process can name the other to the kernel.
  env['VIADUCT_PACKETS'] ??= '1';
  const cards = new ExchangedCards();
  const channel = open({ ...options, board: cards }, env);
  try {
    await cards.exchange(exchange);
    for (let rank = 0; rank < options.size; rank++) checkRoutable(rank, cards.read(rank));
  } catch (error) {
    channel.close();
    throw error;
  }
  return channel;
}

function checkRoutable(rank: number, card: string | undefined): void {
  // A rank that shares memory with all others shows none.
  if (card === undefined || card === '') return;
  const { device, provider, isRoutable } = JSON.parse(card) as Card;
  if (isRoutable) return;
  throw new MpiError(
    'ERR_MPI_LAUNCHER',
    `init: rank ${rank} runs on another host or virtual machine than some of the others, and ${device} of ${provider} has no ` +
      'address there that they could send to; give that host a network interface with an address, or start all ranks on ' +
      'one host',
    { call: 'init', operands: { rank, device } },
  );
}

function open(options: VerbsOptions, env: NodeJS.ProcessEnv): VerbsChannel {
  const { rank, size, ranks, board, incoming, choice, unexpectedBytes } = options;
  const { eagerBytes } = choice;
  const isChosen = choice.longProtocol !== undefined && choice.longProtocol !== 'single-copy';
  const longProtocol = isChosen ? choice.longProtocol : 'rdma-read';
  const name = env['VIADUCT_DEVICE'];
  if (size > MOST_RANKS) {
    throw new MpiError(
      'ERR_MPI_ENVIRONMENT',
      `init: the verbs channel has room for ${MOST_RANKS} ranks, not for ${size}`,
      { call: 'init', operands: { size } },
    );
  }
  const payloadBytes = Math.max(eagerBytes, options.fragmentBytes);
  const affordable = CONNECTION_BYTES / (BUFFERS_FOR_A_CREDIT * payloadBytes);
  const credits = 2 ** Math.floor(Math.log2(Math.max(affordable, 1)));
  try {
    return new VerbsChannel(
      {
        rank,
        device: openDevice(name),
        board,
        incoming,
        sizes: {
          payloadBytes,
          credits: Math.min(Math.max(credits, FEWEST_CREDITS), MOST_CREDITS),
        },
        peerParts: {
          thresholds: { eagerBytes, fragmentBytes: options.fragmentBytes, unexpectedBytes },
          longProtocol,
          whyLongProtocol: isChosen
            ? 'as VIADUCT_LONG_MESSAGES says'
            : 'which takes one message less than a write',
        },
      },
      ranks,
    );
  } catch (cause) {
    if (!(cause instanceof VerbsError)) throw cause;
    throw new MpiError(
      'ERR_MPI_DEVICE',
      `init: rank ${rank} can't send messages by verbs: ${cause.message}; VIADUCT_DEVICE names another device`,
      { call: 'init', operands: { device: name }, cause },
    );
  }
}
