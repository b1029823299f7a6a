/** Copies files and folders into a guest and out of it, through a process of the agent's program. */
import { pipeline } from 'node:stream/promises';

import { VmError } from './errors.js';
import { packFiles, unpackFiles } from './file-stream.js';
import type { GuestProcess } from './guest-process.js';

/** How long a copy may take. */
export interface CopyOptions {
  /** Milliseconds after which it is given up; no limit by default. */
  readonly timeoutMs?: number;
  /** Gives it up when this aborts. */
  readonly signal?: AbortSignal;
}

/** What is copied, for errors. */
export interface Copy {
  readonly vm: string;
  readonly call: 'vm.copyIn' | 'vm.copyOut';
  readonly from: string;
  readonly to: string;
}

const LAST_WORDS_CHARACTERS = 2000;

export async function copyIn(copy: Copy, guest: GuestProcess): Promise<void> {
  guest.stdout.resume();
  await settle(copy, guest, pipeline(packFiles(copy.from), guest.stdin));
}

export async function copyOut(copy: Copy, guest: GuestProcess): Promise<void> {
  guest.stdin.end();
  await settle(copy, guest, unpackFiles(guest.stdout as AsyncIterable<Buffer>, copy.to));
}

/** Waits for both halves, and throws what says most of why one of them failed. */
async function settle(copy: Copy, guest: GuestProcess, ours: Promise<void>): Promise<void> {
  let words = '';
  guest.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-LAST_WORDS_CHARACTERS);
  });
  const ourError = await ours.then(
    () => undefined,
    (error: unknown) => error ?? new Error('failed'),
  );
  // The guest's half may wait for what does not come any more.
  if (ourError !== undefined && words === '') guest.kill('SIGKILL');
  // Rejects when the machine is lost, the time is over, or the signal aborts.
  const { exitCode } = await guest.exited;
  if (exitCode === 0 && ourError === undefined) return;
  const reason = words.trim() === '' ? messageOf(ourError) : words.trim();
  const hint = reason.includes('Read-only file system')
    ? '; the host’s files are read-only in the guest, but /tmp and /dev/shm are its own'
    : '';
  throw new VmError('ERR_VM_COPY', `${copy.from} can't be copied to ${copy.to}: ${reason}${hint}`, {
    vm: copy.vm,
    call: copy.call,
    operands: { from: copy.from, to: copy.to },
    cause: ourError,
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
