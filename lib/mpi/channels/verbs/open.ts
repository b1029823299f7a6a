/** Opens the verbs channel as the environment says. */
import { openDevice, VerbsError } from '../../../verbs/index.js';
import { MpiError } from '../../errors.js';
import type { Incoming } from '../../incoming.js';
import type { CardBoard } from './card.js';
import { VerbsChannel } from './channel.js';
import { MOST_RANKS } from './numbers.js';
import type { LongProtocol } from './peer.js';

type Environment = Readonly<Record<string, string | undefined>>;

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
  readonly eagerBytes: number;
  readonly fragmentBytes: number;
  readonly unexpectedBytes: number;
  /** `VIADUCT_LONG_MESSAGES`. */
  readonly longProtocol: LongProtocol | undefined;
}

/** @throws MpiError `ERR_MPI_DEVICE` when the device can't be used. */
export function openVerbsChannel(options: VerbsOptions, env: Environment): VerbsChannel {
  const { rank, size, ranks, board, incoming, eagerBytes, unexpectedBytes } = options;
  const { longProtocol = 'rdma-read' } = options;
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
          whyLongProtocol:
            options.longProtocol === undefined
              ? 'which takes one message less than a write'
              : 'as VIADUCT_LONG_MESSAGES says',
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
