/** Programs of the host with the libraries that they need, for a guest that has them in its memory. */
import { readFileSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';

import { findInPath } from './drivers/program.js';
import { VmError } from './errors.js';
import { DIRECTORY, REGULAR_FILE, SYMBOLIC_LINK, type ArchiveMember } from './initramfs.js';
import { runTool } from './tool.js';

const ELF = Buffer.from('\x7fELF', 'latin1');

/**
 * Members of an archive: each program where the host has it, what its dynamic linker loads, and for a program whose
 * name alone was given a link in /bin if it is elsewhere.
 *
 * @throws VmError `ERR_VM_ARGUMENT` for a program that the host has not, `ERR_VM_TOOL`
 */
export async function programMembers(
  programs: readonly string[],
  signal?: AbortSignal,
): Promise<ArchiveMember[]> {
  const files = new Map<string, string>();
  const links = new Map<string, string>();
  for (const program of programs) {
    const path = isAbsolute(program) ? program : findInPath(program);
    const data = path === undefined ? undefined : readProgram(path);
    if (path === undefined || data === undefined) {
      throw new VmError(
        'ERR_VM_ARGUMENT',
        `programs: ${program} is no program that this host has, in PATH or at that path`,
        { call: 'VirtualMachine.boot', operands: { program } },
      );
    }
    files.set(path, path);
    if (dirname(path) !== '/bin' && !isAbsolute(program)) links.set(`/bin/${program}`, path);
    const isElf = data.subarray(0, ELF.byteLength).equals(ELF);
    for (const library of isElf ? await librariesOf(path, signal) : []) files.set(library, library);
  }
  const members: ArchiveMember[] = [...files.values()].map((path) => ({
    name: path.slice(1),
    mode: REGULAR_FILE | 0o755,
    data: readFileSync(realpathSync(path)),
  }));
  for (const [path, target] of links) {
    if (files.has(path)) continue;
    members.push({ name: path.slice(1), mode: SYMBOLIC_LINK | 0o777, data: Buffer.from(target) });
  }
  return [...foldersOf(members), ...members];
}

function readProgram(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** What ldd(1) lists: `name => /path (0x…)`, and the dynamic linker as `/path (0x…)`. */
async function librariesOf(path: string, signal?: AbortSignal): Promise<string[]> {
  const options = { package: 'libc-bin', remedy: '', signal };
  const text = await runTool('ldd', [path], options).catch((error: unknown) => {
    // Its status for a static program is 1, too.
    if (String(error).includes('not a dynamic executable')) return Buffer.alloc(0);
    throw error;
  });
  return [...text.toString().matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

function foldersOf(members: readonly ArchiveMember[]): ArchiveMember[] {
  const folders = new Set<string>();
  const add = (path: string): void => {
    if (path === '.' || folders.has(path)) return;
    add(dirname(path));
    folders.add(path);
  };
  for (const { name } of members) add(dirname(name));
  return [...folders].map((name) => ({ name, mode: DIRECTORY | 0o755 }));
}
