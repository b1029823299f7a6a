/** How much memory messages may take that come before their receives; senders of more are kept waiting. */
import { MpiError } from '../errors.js';

/** What one such message takes besides its bytes, about. */
export const UNEXPECTED_OVERHEAD_BYTES = 256;

const DEFAULT_BYTES = 64 * 2 ** 20;

/**
 * The limit for all peers together, from the text of `VIADUCT_UNEXPECTED_BYTES`.
 *
 * @throws MpiError `ERR_MPI_ENVIRONMENT`.
 */
export function unexpectedLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_BYTES;
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new MpiError(
    'ERR_MPI_ENVIRONMENT',
    `init: VIADUCT_UNEXPECTED_BYTES is a number of bytes, not '${text}'; unset it for ${DEFAULT_BYTES}`,
    { call: 'init', operands: { text } },
  );
}
