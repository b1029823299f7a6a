/** What native posting returns, and its failures as errors. */
import { ClosedError } from '../errors.js';
import { errorName, VerbsError } from './errors.js';

/** As in native/addon/verbs/rings.cc. */
const COUNT_MASK = (1 << 20) - 1;
const OWN_ERRORS = 512;

const OWN: Readonly<Record<number, { readonly code: string; readonly text: string }>> = {
  [OWN_ERRORS + 1]: {
    code: 'ERR_VERBS_MEMORY',
    text:
      'the ArrayBuffer of a region that it names was transferred or detached since it was registered; ' +
      'close that region and register the memory where it is now',
  },
  [OWN_ERRORS + 2]: {
    code: 'ERR_VERBS_POST',
    text: 'an address handle, window or region that it names is closed or was not given',
  },
  [OWN_ERRORS + 3]: {
    code: 'ERR_VERBS_POST',
    text: 'it says more pieces or inline bytes than its ring has room for; make the ring by this queue pair',
  },
};

const REMEDIES: Readonly<Record<string, string>> = {
  ENOMEM:
    'the queue is full, or the request has more pieces or inline bytes than the queue was made for; poll ' +
    'completions first (a send queue is only freed by signaled ones), or create it with larger limits',
  EINVAL:
    'the queue pair is in the wrong state (sends need RTS, receives INIT), or the request is not of its kind',
  ERANGE: 'these slots are not in this ring, or the ring is of another kind',
  ENOTSUP:
    'this opcode is not among those that the queue pair was made for (sendOps of pd.createQp), or not of its type',
};

/** @throws VerbsError, ClosedError unless all of `count` were posted. */
export function checkPosted(
  call: string,
  what: string,
  verb: string,
  outcome: number,
  count: number,
): void {
  const posted = outcome & COUNT_MASK;
  const error = outcome >>> 20;
  if (error === 0 && posted === count) return;
  const own = OWN[error];
  const name = own === undefined ? errorName(error) : 'refused';
  if (name === 'EBADF') throw new ClosedError(what, call);
  const text = own?.text ?? REMEDIES[name] ?? 'the device refused it';
  throw new VerbsError(
    own?.code ?? (name === 'ENOTSUP' ? 'ERR_VERBS_UNSUPPORTED' : 'ERR_VERBS_POST'),
    `${call}: work request ${posted} of ${count} could not be posted (${name}): ${text}; ` +
      `the ${posted} before it are posted`,
    {
      call,
      verb,
      operands: { posted, count },
      ...(own === undefined ? { errno: error } : {}),
    },
  );
}
