/** Where memory stands in this process, for those who copy it. */
import { native } from './native.js';

/**
 * The address of a view's first byte. Views of more than 64 bytes never move; V8 keeps smaller ones among its own
 * objects and may move them.
 */
export function addressOf(view: Uint8Array): number {
  return native.addressOf(view);
}
