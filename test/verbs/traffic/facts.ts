/** What a process knows of the device under test. */
import { type Device, type DeviceAttributes, openDevice, type PortAttributes } from 'viaduct/verbs';

import { deviceName } from '../pair.js';

export interface Facts {
  readonly device: string;
  readonly provider: string;
  readonly attributes: DeviceAttributes;
  readonly port: PortAttributes;
  /** From which endpoints send, unless told otherwise. */
  readonly gidIndex: number;
}

export function factsOf(): Facts {
  using device = openDevice(deviceName);
  return {
    device: deviceName,
    provider: device.provider,
    attributes: device.query(),
    port: device.queryPort(1),
    gidIndex: device.preferredGid(1),
  };
}

/** Of an address. */
export type Family = 'IPv4' | 'IPv6';

/** The place of an IPv4 address, or of an IPv6 one that is not of one link alone, in the port's table. */
export function gidIndexOf(device: Device, from: Family | undefined): number {
  if (from === undefined) return device.preferredGid(1);
  const wanted = from === 'IPv4' ? /^(0000:){5}ffff:/ : /^(?!fe80:|(0000:){5}ffff:)/;
  const found = device
    .gidTable()
    .filter(({ portNum, gidType }) => portNum === 1 && gidType === 'RoCE v2')
    .find(({ ndevIfindex, gid }) => ndevIfindex !== 0 && wanted.test(gid));
  if (found === undefined) throw new Error(`${device.name} has no address of ${from}`);
  return found.gidIndex;
}
