/** Tests with QEMU need its program and a kernel for its guests, and say so where one is missing. */
import { findInPath } from '../lib/vm/drivers/program.js';
import { debianKernel } from '../lib/vm/kernel/debian-kernel.js';

export const QEMU = 'qemu-system-x86_64';

async function findObstacle(): Promise<string | false> {
  if (process.arch !== 'x64') return `the qemu driver has no guests for ${process.arch}`;
  if (findInPath(QEMU) === undefined) {
    return `${QEMU} is not in PATH; apt-get install qemu-system-x86`;
  }
  try {
    await debianKernel();
    return false;
  } catch (error) {
    return `there is no kernel for the guests: ${String(error)}`;
  }
}

/** What tap takes as `skip`: false where all is there. */
export const withoutQemu = await findObstacle();
