/** Awaiting an operation within what an AbortSignal and a time limit allow. */
import { MpiError } from './errors.js';
import type { Request } from './request.js';
import type { Status } from './status.js';

/** For calls that wait without blocking. */
export interface WaitOptions {
  /** Withdraws the operation, which then rejects with `ERR_MPI_ABORTED`, unless its message is under way. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The same after this time, with `ERR_MPI_TIMEOUT`, whose message says what each rank of this host waits for. Default:
   * no limit.
   */
  readonly timeoutMs?: number | undefined;
}

/**
 * Begins an operation and awaits it.
 *
 * @param explain what the error of a time limit adds.
 */
export async function bounded(
  begin: () => Request,
  options: WaitOptions | undefined,
  explain: () => string,
): Promise<Status> {
  const signal = options?.signal;
  const timeoutMs = options?.timeoutMs;
  if (signal === undefined && timeoutMs === undefined) return begin().promise();
  if (signal?.aborted === true) throw aborted('the operation was not begun', signal);
  const request = begin();
  const onAbort = (): void => {
    request.withdraw(aborted(`${request.describe()} was withdrawn`, signal));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          if (!request.done) request.withdraw(timedOut(request, timeoutMs, explain()));
        }, timeoutMs);
  try {
    return await request;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}

function timedOut(request: Request, timeoutMs: number, explanation: string): MpiError {
  return new MpiError(
    'ERR_MPI_TIMEOUT',
    `${request.describe()}: nothing came of it in ${timeoutMs} ms, and it was withdrawn${explanation}`,
    { operands: { ...request.operands(), timeoutMs } },
  );
}

function aborted(what: string, signal: AbortSignal | undefined): MpiError {
  return new MpiError('ERR_MPI_ABORTED', `${what}: its AbortSignal was aborted`, {
    cause: signal?.reason as unknown,
  });
}
