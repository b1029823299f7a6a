/**
 * A QEMU guest with a virtual IOMMU and SR-IOV: it runs a program of dist/ on the Node.js of this host, whose files it
 * has, and hands back the lines of JSON that the program writes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { packageRoot } from '../../../lib/addon/index.js';
import { VirtualMachine } from '../../../lib/vm/index.js';

const QEMU = 'qemu-system-x86_64';

function whyNot(): string | false {
  if (process.arch !== 'x64') return `the guest is an x86-64 one, and this is ${process.arch}`;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, QEMU)))) return false;
  return `${QEMU} is not in PATH; apt-get install qemu-system-x86`;
}

/** What tap takes as `skip`. */
export const withoutQemu = whyNot();

export interface GuestOptions {
  /** A file of dist/test/vm/passthrough/programs, without its extension. */
  readonly program: string;
  /** The virtual IOMMU's options; undefined for a guest without one. */
  readonly iommu?: string;
  /** `'no'` for a guest that has not loaded VFIO. */
  readonly vfio?: 'no';
  /** What the program is told after the path of vfio-open. */
  readonly args?: readonly string[];
  readonly memoryMegabytes?: number;
  readonly vcpus?: number;
  readonly timeoutMs?: number;
}

export type GuestResults = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** A controller with SR-IOV behind a root port of its own, at 0000:01:00.0, and two that share a slot, 0000:00:0a. */
const DEVICES = [
  ['pcie-root-port', 'id=port0,chassis=1,slot=1'],
  ['nvme-subsys', 'id=subsystem0'],
  [
    'nvme',
    'id=pf,bus=port0,serial=pf,subsys=subsystem0,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,' +
      'max_ioqpairs=12,msix_qsize=13',
  ],
  ['nvme-ns', 'drive=disk0,bus=pf,nsid=1,shared=on'],
  ['nvme', 'id=shared0,serial=shared0,addr=0a.0,multifunction=on'],
  ['nvme', 'id=shared1,serial=shared1,addr=0a.1'],
].flatMap(([driver, options]) => ['-device', `${driver},${options}`]);
const DISK = ['-drive', 'if=none,id=disk0,driver=null-co,size=16M,read-zeroes=on'];

/** Compiles a program of this folder as one static file. */
export function compile(source: string, directory: string): string {
  const output = join(directory, source.replace(/\.c$/, ''));
  const args = ['-std=gnu17', '-O2', '-static', '-Wall', '-Wextra', '-Werror', '-o', output];
  const path = join(packageRoot, 'test', 'vm', 'passthrough', source);
  execFileSync('cc', [...args, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  return output;
}

/** Boots a guest, runs the program to its end, and leaves nothing. */
export async function runInGuest(options: GuestOptions): Promise<GuestResults> {
  const {
    program,
    iommu,
    vfio,
    args = [],
    memoryMegabytes = 384,
    vcpus = 1,
    timeoutMs = 100_000,
  } = options;
  const directory = mkdtempSync(join(tmpdir(), 'passthrough-'));
  try {
    const vfioOpen = compile('vfio-open.c', directory);
    const iommuArguments = iommu === undefined ? [] : ['-device', `intel-iommu,${iommu}`];
    const vm = await VirtualMachine.boot({
      driver: 'qemu',
      machineType: 'q35',
      // QEMU 7.2 has no virtual IOMMU with KVM unless its interrupt controller is its own.
      accelerator: 'tcg',
      memoryBytes: memoryMegabytes * 2 ** 20,
      vcpus,
      devices: [
        {
          qemuArguments: [...iommuArguments, ...DISK, ...DEVICES],
          modules: ['nvme', ...(vfio === 'no' ? [] : ['vfio_iommu_type1', 'vfio-pci'])],
        },
      ],
      timeoutMs,
      silenceTimeoutMs: timeoutMs,
    });
    try {
      const path = join(
        packageRoot,
        'dist',
        'test',
        'vm',
        'passthrough',
        'programs',
        `${program}.js`,
      );
      await vm.exec('mount', ['-t', 'tmpfs', 'run', '/run']);
      const { stdout, stderr } = await vm.exec(process.execPath, [path, vfioOpen, ...args], {
        timeoutMs,
      });
      const results = stdout.split('\n').filter(Boolean).map(parse);
      const byName = new Map(results.map((result) => [String(result['name']), result]));
      if (!byName.has('done')) throw new Error(`${program} did not end well: ${stdout} ${stderr}`);
      return byName;
    } finally {
      await vm.kill();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function parse(line: string): Readonly<Record<string, unknown>> {
  return JSON.parse(line) as Record<string, unknown>;
}
