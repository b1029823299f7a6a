/** By which channel and protocol messages go, as far as the environment says it. */
import { MpiError } from '../errors.js';
import type { MessageProtocol } from '../traffic.js';

type Environment = Readonly<Record<string, string | undefined>>;

const CHANNELS = ['aperture', 'verbs'] as const;
const LONG_PROTOCOLS = ['single-copy', 'fragments', 'rdma-read', 'rdma-write'] as const;

/** Messages up to this size are sent whole, where the queues are large enough; to itself a rank sends no longer ones whole, either. */
export const EAGER_BYTES = 16384;
const MOST_EAGER_BYTES = 2 ** 22;

export interface ChannelChoice {
  /** Undefined: the aperture to ranks that map it, verbs to others. */
  readonly channel: (typeof CHANNELS)[number] | undefined;
  readonly eagerBytes: number;
  /** How longer messages go; undefined: as is best. A channel that has no such protocol takes what is best for it. */
  readonly longProtocol: Extract<MessageProtocol, (typeof LONG_PROTOCOLS)[number]> | undefined;
}

/** @throws MpiError `ERR_MPI_ENVIRONMENT`. */
export function channelChoice(env: Environment): ChannelChoice {
  return {
    channel: oneOf(env, 'VIADUCT_CHANNEL', CHANNELS),
    eagerBytes: eagerLimit(env['VIADUCT_EAGER_BYTES']),
    longProtocol: oneOf(env, 'VIADUCT_LONG_MESSAGES', LONG_PROTOCOLS),
  };
}

function oneOf<T extends string>(
  env: Environment,
  name: string,
  values: readonly T[],
): T | undefined {
  const text = env[name];
  if (text === undefined) return undefined;
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  const known = values.map((value) => `'${value}'`).join(', ');
  throw new MpiError(
    'ERR_MPI_ENVIRONMENT',
    `init: ${name} is one of ${known}, not '${text}'; unset it for the default`,
    { call: 'init', operands: { [name]: text } },
  );
}

function eagerLimit(text: string | undefined): number {
  if (text === undefined) return EAGER_BYTES;
  if (/^\d+$/.test(text) && Number(text) <= MOST_EAGER_BYTES) return Number(text);
  throw new MpiError(
    'ERR_MPI_ENVIRONMENT',
    `init: VIADUCT_EAGER_BYTES is a number of bytes up to ${MOST_EAGER_BYTES}, not '${text}'; unset it for ${EAGER_BYTES}`,
    { call: 'init', operands: { text } },
  );
}
