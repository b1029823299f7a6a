/** Debian's kernel as a guest's: its package, unpacked without being installed, kept in the cache. */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { cachedFolder, cacheFolder } from '../cache.js';
import { VmError } from '../errors.js';
import { runTool } from '../tool.js';
import { extractVmlinux } from './vmlinux.js';

/** A kernel of guests, by paths of this host. */
export interface GuestKernel {
  /** A bzImage, or an ELF image with the entry that Xen's PVH defines, which QEMU starts without firmware. */
  readonly image: string;
  /** The folder that is /lib/modules/RELEASE in its system, with the `modules.dep` that depmod(8) writes. */
  readonly modules: string;
}

/** The package that depends on the present kernel of the release. */
const LATEST = 'linux-image-amd64';
const APT_REMEDY =
  'the kernel of QEMU guests comes from Debian’s package repository once, and is kept in the cache: ' +
  'is the network there, and was `apt-get update` run?';

/** What no guest has hardware for: two thirds of the modules' 400 MB. */
const WITHOUT_USE = [
  'sound',
  'drivers/bluetooth',
  'drivers/gpu',
  'drivers/hid',
  'drivers/hwmon',
  'drivers/iio',
  'drivers/input',
  'drivers/isdn',
  'drivers/media',
  'drivers/mmc',
  'drivers/mtd',
  'drivers/net/wireless',
  'drivers/platform',
  'drivers/staging',
  'drivers/usb',
  'drivers/video',
] as const;

/**
 * The newest kernel in the cache, else the one that the system's release has now.
 *
 * @throws VmError `ERR_VM_TOOL` (no network, a program is missing), `ERR_VM_KERNEL`, `ERR_VM_CACHE`
 */
export async function debianKernel(signal?: AbortSignal): Promise<GuestKernel> {
  const folder = join(cacheFolder(), 'kernels');
  const [newest] = readFolder(folder)
    .filter((name) => /^linux-image-[^/]*_[^/]*$/.test(name) && !name.endsWith('.lock'))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  return kernelIn(newest === undefined ? await fetchKernel(folder, signal) : join(folder, newest));
}

async function fetchKernel(folder: string, signal?: AbortSignal): Promise<string> {
  const name = await currentPackage(signal);
  return cachedFolder(
    join(folder, name.replace('=', '_')),
    (to) => unpack(name, to, signal),
    signal,
  );
}

/** `linux-image-6.1.0-56-amd64=6.1.192-2` */
async function currentPackage(signal?: AbortSignal): Promise<string> {
  const options = { package: 'apt', remedy: APT_REMEDY, signal };
  const text = await runTool('apt-cache', ['show', '--no-all-versions', LATEST], options);
  const depends = /^Depends: (linux-image-[^ ]+) \(= ([^)]+)\)/m.exec(text.toString());
  if (depends?.[1] === undefined || depends[2] === undefined) {
    throw new VmError('ERR_VM_KERNEL', `no kernel package is known here: ${APT_REMEDY}`, {
      call: 'apt-cache show',
      operands: { package: LATEST },
    });
  }
  return `${depends[1]}=${depends[2]}`;
}

async function unpack(name: string, staging: string, signal?: AbortSignal): Promise<void> {
  // Downloading "unsandboxed as root" is what a private folder asks for; apt only warns of it.
  const apt = ['-q', '-o', 'APT::Sandbox::User=root', 'download', name];
  await runTool('apt-get', apt, { cwd: staging, package: 'apt', remedy: APT_REMEDY, signal });
  const [archive = ''] = readFolder(staging).filter((file) => file.endsWith('.deb'));
  const remedy = 'is there room for 500 MB, for a while, in the cache?';
  await runTool('dpkg', ['-x', archive, 'system'], {
    cwd: staging,
    package: 'dpkg',
    remedy,
    signal,
  });
  rmSync(join(staging, archive));
  const system = join(staging, 'system');
  const [release] = readFolder(join(system, 'lib/modules'));
  if (release === undefined) throw unusable(name, 'it has no modules');
  for (const part of WITHOUT_USE) {
    const path = join(system, 'lib/modules', release, 'kernel', part);
    rmSync(path, { recursive: true, force: true });
  }
  const depmod = ['-b', system, release];
  await runTool('depmod', depmod, { package: 'kmod', remedy, signal });
  const bzImage = join(system, 'boot', `vmlinuz-${release}`);
  writeFileSync(
    join(staging, 'vmlinux'),
    await extractVmlinux(readFileSync(bzImage), bzImage, signal),
  );
  renameSync(join(system, 'lib/modules', release), join(staging, 'modules'));
  rmSync(system, { recursive: true });
}

function kernelIn(folder: string): GuestKernel {
  return { image: join(folder, 'vmlinux'), modules: join(folder, 'modules') };
}

function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    // Not there yet: nothing in it.
    return [];
  }
}

function unusable(name: string, why: string): VmError {
  return new VmError('ERR_VM_KERNEL', `Debian's package ${name} can't be used: ${why}`, {
    call: 'VirtualMachine.boot',
    operands: { package: name },
  });
}
