/**
 * The addresses by which a fabric knows a virtual function: GUIDs on InfiniBand, a MAC on Ethernet (RoCE). The physical
 * function's driver keeps them, and the guest's driver finds them when it starts.
 *
 * InfiniBand has three ways, depending on the driver: files `sriov/N/node` and `port` (mlx5 of NVIDIA's own packages),
 * alias GUIDs (mlx4, Documentation/ABI/stable/sysfs-class-infiniband), and netlink through `ip` (mlx5 of the kernel).
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { PassthroughError } from './errors.js';
import { PCI_DEVICES, type PciDevice } from './pci-device.js';
import { listRdmaDevices } from './rdma-device.js';
import type { SystemTree } from './system-tree.js';

/** What a virtual function is to be called; of the two GUIDs, one that is left out is not changed. */
export interface VirtualFunctionIdentity {
  /** Of the virtual HCA: 8 bytes in hexadecimal, such as `00:11:22:33:44:55:66:77`. InfiniBand only. */
  readonly nodeGuid?: string;
  /** Of its port, the one that the subnet manager routes to. InfiniBand only. */
  readonly portGuid?: string;
  /** Such as `02:00:00:00:3b:01`. Ethernet only. */
  readonly mac?: string;
  /** The physical function's port, from 1, the default; for adapters with two ports in one function (mlx4). */
  readonly port?: number;
}

/** Bytes in hexadecimal, with colons between them or between groups, or nothing. */
function parseBytes(text: string, byteLength: number): number[] | undefined {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '');
  if (!/^[0-9a-f]*$/i.test(digits) || digits.length !== 2 * byteLength) return undefined;
  const bytes = [...Buffer.from(digits, 'hex')];
  return bytes.every((byte) => byte === 0) ? undefined : bytes;
}

function colons(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function refuse(what: string, value: unknown, must: string): never {
  throw new PassthroughError(
    'ERR_PASSTHROUGH_ARGUMENT',
    `${what} must be ${must}, not ${JSON.stringify(value)}`,
    { operands: { [what]: value } },
  );
}

function checkGuid(what: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bytes = parseBytes(text, 8);
  if (bytes === undefined)
    return refuse(what, text, '8 bytes such as 00:11:22:33:44:55:66:77, not all 0');
  // IEEE EUI-64: the lowest bit of the first byte marks a group.
  if ((bytes[0] & 1) !== 0)
    return refuse(what, text, 'the GUID of one port, whose first byte is even');
  return colons(bytes);
}

function checkMac(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bytes = parseBytes(text, 6);
  if (bytes === undefined)
    return refuse('mac', text, '6 bytes such as 02:00:00:00:3b:01, not all 0');
  if ((bytes[0] & 1) !== 0)
    return refuse('mac', text, 'the address of one port, whose first byte is even');
  return colons(bytes);
}

/**
 * Names the virtual function of that number. The guest sees it when its driver starts, so do this before the lease.
 *
 * @throws PassthroughError `ERR_PASSTHROUGH_ARGUMENT`, `ERR_PASSTHROUGH_IDENTITY`, `ERR_PASSTHROUGH_SYSFS`
 */
export async function setIdentity(
  tree: SystemTree,
  device: PciDevice,
  index: number,
  identity: VirtualFunctionIdentity,
): Promise<void> {
  const virtualFunctions = device.sriov?.virtualFunctions ?? [];
  if (virtualFunctions[index] === undefined) {
    refuse(
      'index',
      index,
      virtualFunctions.length === 0
        ? `that of a virtual function, and ${device.address} has none; make some with setVirtualFunctionCount`
        : `0 to ${virtualFunctions.length - 1}, which are the virtual functions of ${device.address}`,
    );
  }
  const port = identity.port ?? 1;
  if (!Number.isSafeInteger(port) || port < 1) refuse('port', port, 'the number of a port, from 1');
  const nodeGuid = checkGuid('nodeGuid', identity.nodeGuid);
  const portGuid = checkGuid('portGuid', identity.portGuid);
  const mac = checkMac(identity.mac);

  const target = { tree, device, index, port, virtualFunction: virtualFunctions[index] };
  if (nodeGuid !== undefined || portGuid !== undefined) {
    requireLinkLayer(target, 'InfiniBand', 'GUIDs', 'mac');
    await setGuids(target, nodeGuid, portGuid);
  }
  if (mac !== undefined) {
    requireLinkLayer(target, 'Ethernet', 'a MAC', 'nodeGuid and portGuid');
    await ipLink(target, ['mac', mac]);
  }
}

interface Target {
  readonly tree: SystemTree;
  readonly device: PciDevice;
  readonly index: number;
  readonly port: number;
  readonly virtualFunction: string;
}

function requireLinkLayer(
  { tree, device, port }: Target,
  layer: 'InfiniBand' | 'Ethernet',
  given: string,
  instead: string,
): void {
  const rdma = listRdmaDevices(tree).find(({ pci }) => pci?.address === device.address);
  const actual = rdma?.ports.find(({ number }) => number === port)?.linkLayer;
  if (actual === undefined || actual === layer) return;
  throw new PassthroughError(
    'ERR_PASSTHROUGH_ARGUMENT',
    `port ${port} of ${device.address} (${rdma?.name}) is ${actual}, which has no use for ${given}; give ${instead}`,
    { operands: { address: device.address, port, linkLayer: actual } },
  );
}

async function setGuids(
  target: Target,
  nodeGuid: string | undefined,
  portGuid: string | undefined,
): Promise<void> {
  const { tree, device, index, port, virtualFunction } = target;
  const files = `${PCI_DEVICES}/${device.address}/sriov/${index}`;
  if (tree.exists(`${files}/node`)) {
    if (nodeGuid !== undefined) await tree.write(`${files}/node`, nodeGuid);
    if (portGuid !== undefined) await tree.write(`${files}/port`, portGuid);
    // The port is down until it is told to follow that of the physical function.
    if (tree.exists(`${files}/policy`)) await tree.write(`${files}/policy`, 'Follow');
    return;
  }

  const mlx4 = tree
    .list(`${PCI_DEVICES}/${device.address}/infiniband`)
    .map((name) => `/sys/class/infiniband/${name}/iov`)
    .find((path) => tree.exists(path));
  if (mlx4 !== undefined) {
    if (nodeGuid !== undefined) {
      refuse('nodeGuid', nodeGuid, 'left out: the adapter’s driver mlx4 makes it; give portGuid');
    }
    const slot = tree.readNumber(`${mlx4}/${virtualFunction}/ports/${port}/gid_idx/0`);
    if (slot === undefined) {
      throw new PassthroughError(
        'ERR_PASSTHROUGH_IDENTITY',
        `the driver mlx4 does not say which GUID index ${virtualFunction} has on port ${port}; see dmesg`,
        { operands: { virtualFunction, port } },
      );
    }
    const guid = `0x${(portGuid ?? '').replaceAll(':', '')}`;
    await tree.write(`${mlx4}/ports/${port}/admin_guids/${slot}`, guid);
    return;
  }

  if (nodeGuid !== undefined) await ipLink(target, ['node_guid', nodeGuid]);
  if (portGuid !== undefined) await ipLink(target, ['port_guid', portGuid]);
  await ipLink(target, ['state', 'auto']);
}

/** Sets one attribute of the virtual function by rtnetlink: IFLA_VF_… of <linux/if_link.h>. */
async function ipLink({ tree, device, index, port }: Target, setting: string[]): Promise<void> {
  const fail = (reason: string, cause?: unknown): never => {
    throw new PassthroughError(
      'ERR_PASSTHROUGH_IDENTITY',
      `virtual function ${index} of ${device.address} did not get ${setting.join(' ')}: ${reason}`,
      { operands: { address: device.address, index, setting: setting.join(' ') }, cause },
    );
  };
  const name = managingInterface(tree, device, port);
  if (name === undefined) {
    return fail(
      `port ${port} has no network interface on the host to do it by; ` +
        'load ib_ipoib for InfiniBand, or the adapter’s Ethernet driver',
    );
  }
  if (tree.ipCommand === undefined) return fail(`${tree.rootPath} is a recorded tree`);
  try {
    await promisify(execFile)(tree.ipCommand, [
      ...['link', 'set', 'dev', name, 'vf', String(index)],
      ...setting,
    ]);
  } catch (cause) {
    const { code, stderr } = cause as { code?: unknown; stderr?: string };
    return fail(
      code === 'ENOENT'
        ? 'the program ip was not found; on Debian and Ubuntu install iproute2'
        : `ip said: ${stderr?.trim() ?? String(cause)}`,
      cause,
    );
  }
}

/** The interface of the physical function's port itself, through which its driver takes orders. */
function managingInterface(tree: SystemTree, device: PciDevice, port: number): string | undefined {
  const candidates = device.interfaces.filter((name) => {
    const path = `/sys/class/net/${name}`;
    // Beside it may stand representors of virtual functions (switchdev), and IPoIB's interfaces of further partitions.
    const isRepresentor = /(vf|sf)\d+$/.test(tree.read(`${path}/phys_port_name`) ?? '');
    return !isRepresentor && !tree.exists(`${path}/parent`);
  });
  // dev_port counts from 0.
  const ofPort = candidates.find(
    (name) => tree.readNumber(`/sys/class/net/${name}/dev_port`) === port - 1,
  );
  return ofPort ?? (candidates.length === 1 && port === 1 ? candidates[0] : undefined);
}
