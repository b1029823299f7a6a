/**
 * What ranks and their hub say to each other once both are proven, a line each:
 *
 * | line | |
 * | --- | --- |
 * | `bring VALUE` | rank: its part of an exchange, base64url |
 * | `brought RANK VALUE` | hub: a rank's part, to all, when all are there |
 * | `alive` | either, while there is nothing else to say |
 * | `failed RANK REASON` | hub: to all others, when a rank is gone; the reason in base64url |
 * | `missing REASON` | hub: not all ranks have come in time |
 * | `leave` | rank: takes its leave |
 * | `left` | hub: has heard it |
 */
import { EXCHANGE_BYTES } from '../meeting.js';

/** Room for the longest line: a part of an exchange. */
export const LINE_BYTES = Math.ceil((EXCHANGE_BYTES * 4) / 3) + 32;

/**
 * Looks without a word from the other side, after which it is silent. Looks are counted, not time: when this process was itself
 * stopped, time has passed that says nothing of others.
 */
export const LOOKS_UNTIL_SILENT = 5;

export const encodeText = (text: string): string => Buffer.from(text).toString('base64url');
export const decodeText = (text = ''): string => Buffer.from(text, 'base64url').toString();
