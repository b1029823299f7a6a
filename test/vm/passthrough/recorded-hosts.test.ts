/** Hosts with HCAs, as their sysfs is documented: what is found, named and missing. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { PassthroughHost, type PreflightOptions, type RdmaDevice } from '../../../lib/vm/index.js';
import { layOut } from './recorded-tree.js';

function hostOf(t: Test, ...names: readonly string[]): { host: PassthroughHost; root: string } {
  const folder = t.testdir({ root: {} });
  const root = layOut(join(folder, 'root'), ...names);
  return { host: new PassthroughHost({ rootPath: root, runDirectory: join(folder, 'run') }), root };
}

/** The same, with a program in the place of ip that writes down what it is told. */
function hostWithIp(t: Test, name: string): { host: PassthroughHost; told: () => string[] } {
  const folder = t.testdir({ root: {}, ip: '#!/bin/sh\necho "$*" >> "$0.told"\n' });
  chmodSync(join(folder, 'ip'), 0o755);
  const host = new PassthroughHost({
    rootPath: layOut(join(folder, 'root'), 'host', name),
    runDirectory: join(folder, 'run'),
    ipCommand: join(folder, 'ip'),
  });
  return { host, told: () => readFileSync(join(folder, 'ip.told'), 'utf8').trim().split('\n') };
}

async function problems(
  host: PassthroughHost,
  address: string,
  options?: PreflightOptions,
): Promise<string[]> {
  return (await host.preflight(address, options)).map(({ problem }) => problem);
}

t.test('an HCA is listed with its ports, function and virtual functions', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-infiniband');
  const [physical, virtual, soft] = host.rdmaDevices();
  t.same(physical, {
    name: 'mlx5_0',
    nodeGuid: '0c42:a103:0065:3b00',
    systemImageGuid: '0c42:a103:0065:3b00',
    firmwareVersion: '20.31.1014',
    ports: [{ number: 1, linkLayer: 'InfiniBand', state: 'ACTIVE' }],
    pci: {
      address: '0000:3b:00.0',
      vendorId: 0x15b3,
      deviceId: 0x101b,
      classCode: 0x020700,
      driver: 'mlx5_core',
      iommuGroup: 27,
      numaNode: 1,
      interfaces: ['ib0'],
      sriov: {
        totalVirtualFunctions: 8,
        virtualFunctions: ['0000:3b:00.1', '0000:3b:00.2'],
        autoprobe: true,
      },
      physicalFunction: undefined,
    },
  } satisfies RdmaDevice);
  t.match(virtual, { name: 'mlx5_1', pci: { physicalFunction: '0000:3b:00.0' } });
  t.match(soft, { name: 'rxe0', pci: undefined }, 'a device without hardware is one, too');
});

t.test('what is broken in sysfs hides nothing else', async (t) => {
  const { host } = hostOf(t, 'host', 'broken');
  const [first, gone] = host.rdmaDevices();
  t.match(first, {
    ports: [{ number: 1, linkLayer: undefined, state: undefined }],
    pci: { vendorId: undefined, classCode: undefined, iommuGroup: undefined },
  });
  t.match(gone, { name: 'mlx5_1', nodeGuid: undefined, ports: [], pci: undefined });
  t.match(host.pciDevice('02:00.0'), { driver: undefined, sriov: undefined });
  t.same(await problems(host, '0000:01:00.0'), ['iommu-group-missing', 'device-busy']);
  await t.rejects(host.lease('0000:01:00.0'), { code: 'ERR_PASSTHROUGH_PREFLIGHT' });
});

t.test('addresses that name nothing are refused', async (t) => {
  const { host } = hostOf(t, 'host');
  t.throws(() => host.pciDevice('mlx5_0'), { code: 'ERR_PASSTHROUGH_ARGUMENT', message: /lspci/ });
  t.throws(() => host.pciDevice('../..'), { code: 'ERR_PASSTHROUGH_ARGUMENT' });
  t.throws(() => host.pciDevice('3b:00.0'), { code: 'ERR_PASSTHROUGH_DEVICE' });
  await t.rejects(host.lease('3b:00.0'), { code: 'ERR_PASSTHROUGH_DEVICE' });
});

t.test('GUIDs go into the files of NVIDIA’s driver, and the port is let up', async (t) => {
  const { host, root } = hostOf(t, 'host', 'connectx-infiniband');
  const file = (name: string): string =>
    readFileSync(join(root, 'sys/bus/pci/devices/0000:3b:00.0/sriov', name), 'utf8').slice(0, 23);
  await host.setIdentity('0000:3b:00.2', {
    nodeGuid: '0x0c42a10300653b02',
    portGuid: '0c42:a103:0065:3b12',
  });
  t.equal(file('1/node'), '0c:42:a1:03:00:65:3b:02');
  t.equal(file('1/port'), '0c:42:a1:03:00:65:3b:12');
  t.match(file('1/policy'), /^Follow/);
  t.equal(file('0/node'), '00:00:00:00:00:00:00:00', 'the other function keeps its own');
});

t.test('alias GUIDs go into the table of the port of an mlx4', async (t) => {
  const { host, root } = hostOf(t, 'host', 'connectx3');
  await host.setIdentity('81:00.1', { portGuid: '0002:c903:00a1:b2f2', port: 2 });
  const table = join(root, 'sys/class/infiniband/mlx4_0/iov/ports');
  t.match(readFileSync(join(table, '2/admin_guids/2'), 'utf8'), /^0x0002c90300a1b2f2/);
  t.match(readFileSync(join(table, '1/admin_guids/1'), 'utf8'), /^0x0\n/);
  await t.rejects(host.setIdentity('81:00.1', { nodeGuid: '0002:c903:00a1:b2f2' }), {
    code: 'ERR_PASSTHROUGH_ARGUMENT',
    message: /nodeGuid must be left out.*mlx4/,
  });
});

t.test('GUIDs go by netlink to the kernel’s own driver', async (t) => {
  const { host, told } = hostWithIp(t, 'connectx-infiniband-upstream');
  const nodeGuid = '0c:42:a1:03:00:65:3b:02';
  await host.setIdentity('3b:00.2', { nodeGuid, portGuid: nodeGuid });
  t.same(told(), [
    `link set dev ib0 vf 1 node_guid ${nodeGuid}`,
    `link set dev ib0 vf 1 port_guid ${nodeGuid}`,
    'link set dev ib0 vf 1 state auto',
  ]);
});

t.test('a MAC goes by netlink through the port’s own interface', async (t) => {
  const { host, told } = hostWithIp(t, 'connectx-roce');
  await host.setIdentity('5e:00.2', { mac: '02:00:00:00:5E:01' });
  t.same(told(), ['link set dev enp94s0f0np0 vf 0 mac 02:00:00:00:5e:01']);
});

t.test('what ip refuses is said, with ip’s reason', async (t) => {
  const folder = t.testdir({
    root: {},
    ip: '#!/bin/sh\necho "RTNETLINK answers: no" >&2; exit 2\n',
  });
  chmodSync(join(folder, 'ip'), 0o755);
  const rootPath = layOut(join(folder, 'root'), 'host', 'connectx-roce');
  const hostWith = (ipCommand: string): PassthroughHost =>
    new PassthroughHost({ rootPath, ipCommand, runDirectory: join(folder, 'run') });
  const mac = '02:00:00:00:5e:01';
  await t.rejects(hostWith(join(folder, 'ip')).setIdentity('5e:00.2', { mac }), {
    code: 'ERR_PASSTHROUGH_IDENTITY',
    message: /virtual function 0 of 0000:5e:00\.0 .* ip said: RTNETLINK answers: no/,
  });
  await t.rejects(hostWith(join(folder, 'no-ip')).setIdentity('5e:00.2', { mac }), {
    code: 'ERR_PASSTHROUGH_IDENTITY',
    message: /install iproute2/,
  });
});

t.test('identities that can’t be are refused', async (t) => {
  const refused = { code: 'ERR_PASSTHROUGH_ARGUMENT' };
  const { host } = hostOf(t, 'host', 'connectx-infiniband');
  const guid = '0c:42:a1:03:00:65:3b:02';
  for (const identity of [
    { nodeGuid: '0c42a103' },
    { portGuid: '00:00:00:00:00:00:00:00' },
    { portGuid: '0d:42:a1:03:00:65:3b:02' },
    { portGuid: guid, port: 0 },
    { mac: '02:00:00:00:5e' },
    { mac: '01:00:5e:00:00:01' },
  ]) {
    await t.rejects(host.setIdentity('3b:00.1', identity), refused, JSON.stringify(identity));
  }
  await t.rejects(host.setIdentity('3b:00.1', { mac: '02:00:00:00:5e:01' }), {
    ...refused,
    message: /InfiniBand, which has no use for a MAC; give nodeGuid/,
  });
  await t.rejects(host.setIdentity('3b:00.0', { nodeGuid: guid }), {
    code: 'ERR_PASSTHROUGH_DEVICE',
    message: /is no virtual function/,
  });
});

t.test('a function that a VM or a program has is busy, and they are named', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-infiniband');
  t.match(await host.preflight('3b:00.1'), [
    { problem: 'device-busy', message: '0000:3b:00.1 is in use by pid 4242 (qemu-system-x86)' },
  ]);
  t.match(await host.preflight('3b:00.2'), [
    { problem: 'device-busy', message: '0000:3b:00.2 is in use by pid 4243 (ib_send_lat)' },
  ]);
  await t.rejects(host.setVirtualFunctionCount('3b:00.0', 4), {
    code: 'ERR_PASSTHROUGH_BUSY',
    message: /pid 4242/,
  });
});

t.test('a physical function that the host needs is busy', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-infiniband');
  t.match(await host.preflight('3b:00.0'), [
    {
      problem: 'device-busy',
      message: /interface ib0 .* is up/,
      remedy: /ip link set dev ib0 down/,
    },
    { problem: 'device-busy', message: /has 2 virtual functions/, remedy: /such as 0000:3b:00\.1/ },
  ]);
});

t.test('more virtual functions than the firmware allows', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-infiniband');
  t.match(await host.preflight('3b:00.0', { virtualFunctions: 16 }), [
    { problem: 'virtual-function-limit', remedy: /mlxconfig -d 0000:3b:00\.0 set NUM_OF_VFS/ },
  ]);
  t.same(await problems(host, '3b:00.0', { virtualFunctions: 8 }), []);
  t.match(await host.preflight('3b:00.1', { virtualFunctions: 1 }), [
    { problem: 'no-sriov', message: /is itself a virtual function/, remedy: /0000:3b:00\.0/ },
  ]);
});

t.test('two ports in one group, and the bridge above them', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-roce');
  t.match(host.iommuGroup('5e:00.1'), {
    number: 40,
    isViable: false,
    members: [
      { address: '0000:5d:02.0', isBridge: true, isInTheWay: false },
      { address: '0000:5e:00.0', isInTheWay: true },
      { address: '0000:5e:00.1', isInTheWay: true },
    ],
  });
  t.match(await host.preflight('5e:00.1'), [
    { problem: 'group-shared', message: /with 0000:5e:00\.0 \(mlx5_core\)/, remedy: /ACS/ },
    { problem: 'device-busy', message: /enp94s0f1np1/ },
  ]);
  t.match(
    await host.preflight('5e:00.1', { wholeGroup: true }),
    [{ message: /enp94s0f1np1/ }, { message: /^0000:5e:00\.0 has 1 virtual functions/ }],
    'what would be taken with it counts as well',
  );
});

t.test('a virtual function in a group of its own is ready', async (t) => {
  const { host } = hostOf(t, 'host', 'connectx-roce');
  t.equal(host.iommuGroup('5e:00.2')?.isViable, true);
  t.same(await problems(host, '5e:00.2'), []);
});

t.test('memory that may not be locked', async (t) => {
  const { host, root } = hostOf(t, 'host', 'connectx-roce');
  t.match(await host.preflight('5e:00.2', { memoryBytes: 4 * 2 ** 30 }), [
    { problem: 'memory-lock-limit', message: /some 4160 MiB .* 8 MiB/, remedy: /4259840 KiB/ },
  ]);
  // CAP_IPC_LOCK is bit 14 of capabilities(7).
  writeFileSync(join(root, 'proc/self/status'), 'CapEff:\t0000000000004000\n');
  t.same(await problems(host, '5e:00.2', { memoryBytes: 4 * 2 ** 30 }), []);
  writeFileSync(join(root, 'proc/self/status'), 'CapEff:\t0000000000000000\n');
  writeFileSync(
    join(root, 'proc/self/limits'),
    'Max locked memory         unlimited            unlimited            bytes\n',
  );
  t.same(await problems(host, '5e:00.2', { memoryBytes: 4 * 2 ** 30 }), []);
});

t.test('a machine as it comes lacks most, and each has its remedy', async (t) => {
  const { host } = hostOf(t, 'workstation');
  t.same(host.rdmaDevices(), []);
  t.match(await host.preflight('00:1f.6', { virtualFunctions: 2 }), [
    { problem: 'iommu-off', remedy: /VT-d in the BIOS, add intel_iommu=on/ },
    { problem: 'vfio-not-loaded', remedy: /^modprobe -a vfio-pci vfio_iommu_type1 vfio;/ },
    { problem: 'no-sriov', message: '0000:00:1f.6 has no SR-IOV capability' },
  ]);
  await t.rejects(host.setVirtualFunctionCount('00:1f.6', 1), {
    code: 'ERR_PASSTHROUGH_DEVICE',
    message: /no SR-IOV capability/,
  });
});

t.test('interrupts that are not remapped', async (t) => {
  const { host, root } = hostOf(t, 'host', 'connectx-roce');
  writeFileSync(join(root, 'proc/interrupts'), ' 64:  0  0  PCI-MSIX-0000:5e:00.0  0-edge\n');
  t.same(await problems(host, '5e:00.2'), ['interrupt-remapping-off']);
  const waiver = 'sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts';
  writeFileSync(join(root, waiver), 'Y\n');
  t.same(await problems(host, '5e:00.2'), [], 'a site may waive that');
});
