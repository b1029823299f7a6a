/** Global identifiers: 16 bytes, written as IPv6 addresses are, in eight groups of four digits. */
import { argumentError } from './errors.js';

export function gidText(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16).padStart(4, '0'));
  }
  return groups.join(':');
}

export function gidBytes(call: string, text: string): Uint8Array {
  if (!/^([0-9a-f]{4}:){7}[0-9a-f]{4}$/i.test(text)) {
    throw argumentError(
      call,
      `a GID is eight groups of four hexadecimal digits, such as ` +
        `fe80:0000:0000:0000:0200:00ff:fe00:0001, not '${text}'`,
      { gid: text },
    );
  }
  return Uint8Array.from(Buffer.from(text.replaceAll(':', ''), 'hex'));
}

export function isZeroGid(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Whether it is an IPv4 address in IPv6 form, ::ffff:a.b.c.d. */
export function isIpv4Gid(bytes: Uint8Array): boolean {
  return (
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  );
}
