/** Whether KVM runs guests here, found out by running one: that the device opens proves nothing. */
import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { builtExecutable } from '../../addon/index.js';
import { cacheFolder, renamedInto } from '../cache.js';
import type { GuestKernel } from '../kernel/debian-kernel.js';

export type Accelerator = 'kvm' | 'tcg';

const DEVICE = '/dev/kvm';
/** The kernel's first words come within a tenth of a second where KVM works; a nested one is slower. */
const PATIENCE_MS = 5000;
const FIRST_WORDS = 'Linux version';

interface Verdict {
  readonly works: boolean;
  /** Why not, in the words of QEMU or ours. */
  readonly reason: string;
}

/** What decides: the same answer holds until the host boots again or QEMU changes. */
function circumstances(program: string): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const { mtimeMs, size } = statSync(program);
  return `${boot} ${program} ${mtimeMs} ${size} ${process.getuid?.() ?? ''}`;
}

/** @returns whether KVM works, and if not, why */
export async function probeKvm(program: string, kernel: GuestKernel): Promise<Verdict> {
  try {
    accessSync(DEVICE, constants.R_OK | constants.W_OK);
  } catch (error) {
    return { works: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const file = join(cacheFolder(), 'kvm.json');
  const now = circumstances(program);
  const known = readVerdict(file);
  if (known?.circumstances === now) return known;
  const verdict = await tryKernel(program, kernel);
  try {
    mkdirSync(dirname(file), { recursive: true });
    renamedInto(file, (path) => {
      writeFileSync(path, JSON.stringify({ circumstances: now, ...verdict }));
    });
  } catch {
    // Without a cache the next machine asks again.
  }
  return verdict;
}

function readVerdict(file: string): (Verdict & { circumstances: string }) | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Verdict & { circumstances: string };
  } catch {
    return undefined;
  }
}

async function tryKernel(program: string, kernel: GuestKernel): Promise<Verdict> {
  const machine = ['-M', 'microvm', '-accel', 'kvm', '-cpu', 'host', '-m', '128'];
  const quiet = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'];
  const boot = ['-kernel', kernel.image, '-append', 'earlyprintk=ttyS0 console=ttyS0 panic=-1'];
  const guard = spawn(
    builtExecutable('viaduct-guard'),
    ['--parent', String(process.pid), '--kill-tree', '--', program]
      .concat(machine, quiet)
      .concat(boot, '-serial', 'stdio'),
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', detached: true },
  );
  let said = '';
  let works = false;
  const timer = setTimeout(() => guard.kill('SIGTERM'), PATIENCE_MS);
  for (const stream of [guard.stdout, guard.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096);
      if (!said.includes(FIRST_WORDS)) return;
      works = true;
      guard.kill('SIGTERM');
    });
  }
  await new Promise((resolve) => guard.once('error', resolve).once('close', resolve));
  clearTimeout(timer);
  const reason = said.trim().split('\n').at(-1) ?? '';
  if (works) return { works, reason: '' };
  return { works, reason: reason === '' ? `a kernel said nothing for ${PATIENCE_MS} ms` : reason };
}
