/** Signals by number, and what each says about the process that it killed. */
import { constants } from 'node:os';

const LIKELY_CAUSE: Partial<Record<NodeJS.Signals, string>> = {
  SIGKILL: 'by a person or a program, or by the kernel when memory ran out: see dmesg',
  SIGSEGV: 'it used memory that is not its own; a fault in native code',
  SIGBUS: 'it touched mapped memory with nothing behind it; is /dev/shm full, or a file truncated?',
  SIGABRT: 'it gave up itself; a failed assertion, or its heap was full',
  SIGILL: 'it ran an instruction that this processor does not have',
  SIGFPE: 'an arithmetic fault in native code',
  SIGTERM: 'it was asked to end by a person or a program',
  SIGINT: 'it was interrupted by a person or a program',
  SIGXCPU: 'its limit of processor time was reached: see ulimit -t',
};

/** The exit status that shells give for a process killed by this signal. */
export function exitStatusOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

/** ` (why it probably happened)`, or nothing. */
export function likelyCause(signal: NodeJS.Signals): string {
  const cause = LIKELY_CAUSE[signal];
  return cause === undefined ? '' : ` (${cause})`;
}
