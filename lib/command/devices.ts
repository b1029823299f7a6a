/** `viaduct devices`: what devices there are, and what they have. */
import { parseArgs } from 'node:util';

import { ViaductError } from '../errors.js';
import {
  type DeviceAttributes,
  type GidEntry,
  listDevices,
  openDevice,
  type PortAttributes,
  type ProcessCounters,
  PROVIDERS,
  type ProviderName,
  UnsupportedError,
} from '../verbs/index.js';
import { help } from './devices-help.js';
import { UsageError } from './usage-error.js';

interface Options {
  readonly json: boolean;
  readonly counters: boolean;
  readonly provider: ProviderName | undefined;
  readonly names: readonly string[];
}

interface ListedDevice {
  readonly name: string;
  readonly provider: ProviderName;
  readonly guid: string;
  readonly nodeType: string;
  readonly transportType: string;
  readonly completionVectors: number;
  readonly attributes: DeviceAttributes;
  readonly ports: readonly (PortAttributes & { readonly gids: readonly GidEntry[] })[];
}

/** Of the processes that use the device; undefined where the device counts nothing. */
interface Counted {
  readonly name: string;
  readonly provider: ProviderName;
  readonly processes: readonly ProcessCounters[] | undefined;
}

function isProvider(name: string): name is ProviderName {
  return PROVIDERS.some((known) => known === name);
}

function parse(args: readonly string[]): Options | 'help' {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        json: { type: 'boolean' },
        counters: { type: 'boolean' },
        provider: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0] ?? 'wrong usage');
  }
  const { json = false, counters = false, provider, help: wantsHelp = false } = parsed.values;
  if (wantsHelp) return 'help';
  if (provider !== undefined && !isProvider(provider)) {
    throw new UsageError(`--provider is ${PROVIDERS.join(' or ')}, not '${provider}'`);
  }
  return { json, counters, provider, names: parsed.positionals };
}

function inspect(name: string, provider: ProviderName): ListedDevice {
  const device = openDevice(name, { provider });
  try {
    const attributes = device.query();
    const gids = device.gidTable();
    const ports = Array.from({ length: attributes.physPortCnt }, (_, i) => ({
      ...device.queryPort(i + 1),
      gids: gids.filter((each) => each.portNum === i + 1),
    }));
    const { guid, completionVectors } = device;
    const listed = listDevices(provider).find((each) => each.name === name);
    const { nodeType = '', transportType = '' } = listed ?? {};
    return { name, provider, guid, nodeType, transportType, completionVectors, attributes, ports };
  } finally {
    device.close();
  }
}

function count(name: string, provider: ProviderName): Counted {
  const device = openDevice(name, { provider });
  try {
    const processes = device.packetCounters().filter(({ pid }) => pid !== process.pid);
    return { name, provider, processes };
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return { name, provider, processes: undefined };
  } finally {
    device.close();
  }
}

const NAME_WIDTH = 28;

function row(indent: number, name: string, value: unknown): string {
  const pad = '\t'.repeat(indent);
  return `${pad}${`${name}:`.padEnd(NAME_WIDTH)}${String(value)}\n`;
}

function valueText(value: unknown): string {
  return Array.isArray(value) ? (value.length > 0 ? value.join(', ') : 'none') : String(value);
}

function describe(device: ListedDevice): string {
  const { name, ports, attributes, ...identity } = device;
  let text = row(0, 'hca_id', name);
  for (const [key, value] of Object.entries(identity)) text += row(1, key, value);
  for (const [key, value] of Object.entries(attributes)) text += row(1, key, valueText(value));
  for (const { port, gids, ...rest } of ports) {
    text += row(1, 'port', port);
    for (const [key, value] of Object.entries(rest)) text += row(2, key, valueText(value));
    for (const { gidIndex, gid, gidType } of gids) {
      text += row(2, `gid[${gidIndex}]`, `${gid} (${gidType})`);
    }
  }
  return text;
}

function describeCounted({ name, processes }: Counted): string {
  let text = row(0, 'hca_id', name);
  if (processes === undefined)
    return `${text}\tno counters: \`rdma statistic\` and sysfs have those of the kernel\n`;
  if (processes.length === 0) return `${text}\tno process uses it\n`;
  for (const { pid, counters } of processes) {
    text += row(1, 'process', pid);
    const counted = Object.entries(counters).filter(([, value]) => value !== 0n);
    for (const [counter, value] of counted) text += row(2, counter, value);
    if (counted.length === 0) text += '\t\tno packets\n';
  }
  return text;
}

/** Runs the command; resolves to its exit status. */
export function run(args: readonly string[]): Promise<number> {
  const options = parse(args);
  if (options === 'help') {
    process.stdout.write(help);
    return Promise.resolve(0);
  }
  const { names, provider, json, counters } = options;
  const there = listDevices(provider);
  const missing = names.find((name) => !there.some((each) => each.name === name));
  if (missing !== undefined) {
    const known = there.map((each) => each.name).join(', ') || 'none';
    throw new ViaductError(
      'ERR_VERBS_DEVICE',
      `there is no device '${missing}'; there are: ${known}`,
      { call: 'viaduct devices', operands: { name: missing } },
    );
  }
  const chosen = there.filter((each) => names.length === 0 || names.includes(each.name));
  if (counters)
    print(
      chosen.map((each) => count(each.name, each.provider)),
      describeCounted,
      json,
    );
  else
    print(
      chosen.map((each) => inspect(each.name, each.provider)),
      describe,
      json,
    );
  return Promise.resolve(0);
}

function print<T>(devices: readonly T[], describeOne: (device: T) => string, json: boolean): void {
  if (json) {
    const text = JSON.stringify(
      devices,
      (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
      2,
    );
    process.stdout.write(`${text}\n`);
  } else {
    process.stdout.write(
      devices.length === 0 ? 'no devices\n' : devices.map(describeOne).join('\n'),
    );
  }
}
