/** IPv4 addresses with their prefix, as people write them. */
import { isIPv4 } from 'node:net';

export interface InterfaceAddress {
  /** The first byte of the dotted form is the highest. */
  readonly address: number;
  readonly prefixLength: number;
}

/** `10.86.0.1/24`; undefined if it isn't one. */
export function parseAddress(text: string): InterfaceAddress | undefined {
  const [dotted = '', prefix = '', ...more] = text.split('/');
  const prefixLength = Number(prefix);
  if (more.length > 0 || !isIPv4(dotted) || !/^\d{1,2}$/.test(prefix) || prefixLength > 32) {
    return undefined;
  }
  const address = dotted.split('.').reduce((value, byte) => value * 256 + Number(byte), 0);
  return { address, prefixLength };
}
