/** The root of every error that viaduct throws. */

/** The call that failed and what it was given, for programs and for log lines. */
export interface ErrorDetails {
  /** The public call that failed, as the user wrote it: `world.send`, `Aperture.open`. */
  readonly call?: string;
  /** The values it was given that matter to the failure. */
  readonly operands?: Readonly<Record<string, unknown>>;
  /** The operating system's error number, where one was given. */
  readonly errno?: number;
  /** What the error follows from, such as the error of a system call. */
  readonly cause?: unknown;
}

/**
 * An error with a stable `code` to test for and a message that says what happened and what to do.
 * Layers derive their own classes from it: `ApertureError`, `MpiError`, `JobError`, `VmError`.
 */
export class ViaductError extends Error {
  /** Stable, in capitals: what programs test for. Each class lists its own. */
  readonly code: string;
  /** The public call that failed, as the user wrote it; undefined where no one call did. */
  readonly call: string | undefined;
  /** What the call was given, as far as it matters to the failure; empty where nothing does. */
  readonly operands: Readonly<Record<string, unknown>>;
  /** The operating system's error number, positive; undefined where the system gave none. */
  readonly errno: number | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.call = details.call;
    this.operands = details.operands ?? {};
    this.errno = details.errno;
  }
}

/** The resource was closed before this call. Code: `ERR_CLOSED`. */
export class ClosedError extends ViaductError {
  constructor(what: string, call: string) {
    super('ERR_CLOSED', `${call}: this ${what} is closed; open or create a new one`, { call });
  }
}
