/** What can go wrong with verbs. */
import { getSystemErrorName } from 'node:util';

import { type ErrorDetails, ViaductError } from '../errors.js';

/** What a `VerbsError` is made of. */
export interface VerbsErrorDetails extends ErrorDetails {
  /** The function of libibverbs that failed. */
  readonly verb?: string;
}

/**
 * Codes: `ERR_VERBS_PROVIDER` (no provider, or it can't be loaded), `ERR_VERBS_DEVICE` (no such device),
 * `ERR_VERBS_ARGUMENT`, `ERR_VERBS_MEMORY` (memory that can't be registered, or was given away since),
 * `ERR_VERBS_MODIFY` (a state change that the device refused; the operands `missing` and `notAllowed` name
 * attributes), `ERR_VERBS_POST` (a work request that was refused; the operand `posted` says how many were taken),
 * `ERR_VERBS_BUSY` (still in use), `ERR_VERBS_COMPLETION` (a work request failed), `ERR_VERBS_UNSUPPORTED`,
 * `ERR_VERBS_TIMEOUT`, `ERR_VERBS_ABORTED` (an AbortSignal), `ERR_VERBS_SYSTEM` (another failure, in `errno`).
 */
export class VerbsError extends ViaductError {
  /** The function of libibverbs that failed; undefined where none was called. */
  readonly verb: string | undefined;

  constructor(code: string, message: string, details: VerbsErrorDetails = {}) {
    super(code, message, details);
    this.verb = details.verb;
  }
}

/** The provider or its device doesn't have this verb. Code: `ERR_VERBS_UNSUPPORTED`. */
export class UnsupportedError extends VerbsError {}

export function argumentError(
  call: string,
  problem: string,
  operands: Readonly<Record<string, unknown>>,
): VerbsError {
  return new VerbsError('ERR_VERBS_ARGUMENT', `${call}: ${problem}`, { call, operands });
}

/** The errors that native functions throw. */
interface NativeFailure extends Error {
  readonly errno: number;
  readonly syscall: string;
  /** What the device says of it beyond its number; '' where it says nothing. */
  readonly problem?: string;
}

/** The sentence that the device had for a failure, or ''. */
export function problemOf(error: unknown): string {
  const cause = error instanceof VerbsError ? error.cause : error;
  return isNativeFailure(cause) ? (cause.problem ?? '') : '';
}

function isNativeFailure(error: unknown): error is NativeFailure {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}

interface Remedy {
  readonly code: string;
  readonly text: string;
}

// ENOTSUP is Node's name for EOPNOTSUPP: Linux has one number for both.
const GENERAL: Readonly<Record<string, Remedy>> = {
  ENOTSUP: {
    code: 'ERR_VERBS_UNSUPPORTED',
    text: 'this provider or device does not offer it; see `viaduct devices` for what it has',
  },
  ENOSYS: {
    code: 'ERR_VERBS_UNSUPPORTED',
    text: 'this provider or device does not offer it; see `viaduct devices` for what it has',
  },
  EBUSY: { code: 'ERR_VERBS_BUSY', text: 'something still uses it; close that first' },
  ENOMEM: {
    code: 'ERR_VERBS_SYSTEM',
    text: 'the device or the system has no more of these; ask for less, close some, or raise `ulimit -l`',
  },
  EACCES: {
    code: 'ERR_VERBS_SYSTEM',
    text: 'this user may not; look at the rights of /dev/infiniband',
  },
  EPERM: { code: 'ERR_VERBS_SYSTEM', text: 'this user may not; it may need CAP_NET_RAW' },
  ENODEV: {
    code: 'ERR_VERBS_DEVICE',
    text: 'the device is not there; `viaduct devices` lists them',
  },
  EINVAL: {
    code: 'ERR_VERBS_ARGUMENT',
    text: 'the device refuses these values; compare them with its limits (device.query())',
  },
  EBADF: { code: 'ERR_VERBS_ARGUMENT', text: 'an object that it names was closed' },
};

const BY_VERB: Readonly<Record<string, Readonly<Record<string, Remedy>>>> = {
  ibv_reg_mr: {
    EFAULT: {
      code: 'ERR_VERBS_MEMORY',
      text: 'this memory is detached or smaller than asked for; register memory that is there',
    },
    EINVAL: {
      code: 'ERR_VERBS_ARGUMENT',
      text: 'remote-write and remote-atomic access need local-write too; and the length must not be 0',
    },
    ENOMEM: {
      code: 'ERR_VERBS_SYSTEM',
      text: 'no more memory may be pinned; raise `ulimit -l` or register less',
    },
  },
  fork: {
    EPERM: {
      code: 'ERR_VERBS_SYSTEM',
      text: 'registrations are of the process that this one was forked from; open the device again here',
    },
  },
  ibv_advise_mr: {
    EFAULT: {
      code: 'ERR_VERBS_MEMORY',
      text: "each slice must lie in a region registered with 'on-demand'",
    },
    EPERM: {
      code: 'ERR_VERBS_ARGUMENT',
      text: "the regions must be of this domain, and for 'prefetch-write' registered with 'local-write'",
    },
  },
  ibv_create_cq: {
    EINVAL: {
      code: 'ERR_VERBS_ARGUMENT',
      text: 'the number of entries must be from 1 to maxCqe of device.query()',
    },
  },
  ibv_attach_mcast: {
    EINVAL: {
      code: 'ERR_VERBS_ARGUMENT',
      text: 'only UD queue pairs join groups, and the GID must begin with ff',
    },
  },
};

/**
 * Runs a native function and gives its failure the public call, the operands and the remedy.
 *
 * @throws VerbsError, UnsupportedError
 */
export function attempt<T>(
  call: string,
  operands: Readonly<Record<string, unknown>>,
  run: () => T,
): T {
  try {
    return run();
  } catch (cause) {
    if (!isNativeFailure(cause)) throw cause;
    throw verbsFailure(call, cause.syscall, cause.errno, operands, cause, cause.problem);
  }
}

export function errorName(errno: number): string {
  return getSystemErrorName(-errno);
}

export function verbsFailure(
  call: string,
  verb: string,
  errno: number,
  operands: Readonly<Record<string, unknown>>,
  cause?: unknown,
  problem = '',
): VerbsError {
  const name = errorName(errno);
  const remedy = BY_VERB[verb]?.[name] ??
    GENERAL[name] ?? { code: 'ERR_VERBS_SYSTEM', text: 'the system refused it' };
  const given = Object.entries(operands).map(([key, value]) => `${key} ${String(value)}`);
  const operandText = given.length > 0 ? ` (${given.join(', ')})` : '';
  const message = `${call}${operandText}: ${verb} failed with ${name}: ${problem === '' ? remedy.text : problem}`;
  const details = { call, verb, errno, operands, cause };
  return remedy.code === 'ERR_VERBS_UNSUPPORTED'
    ? new UnsupportedError(remedy.code, message, details)
    : new VerbsError(remedy.code, message, details);
}
