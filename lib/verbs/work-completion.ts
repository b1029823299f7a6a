/** Completions as objects, and what a failed one means. */
import {
  completionOpcode,
  type CompletionOpcode,
  type CompletionStatus,
  WC_GRH,
  WC_STATUS,
  WC_WITH_IMM,
  WC_WITH_INV,
} from './enumerations.js';
import { VerbsError } from './errors.js';
import type { CompletionRing } from './rings/completion-ring.js';

/** The likely causes of each status, first the likeliest. */
const CAUSES: Readonly<Partial<Record<CompletionStatus, string>>> = {
  LOC_LEN_ERR:
    'the message is longer than the memory of its receive, or than the port or path MTU (UD) allows',
  LOC_QP_OP_ERR: 'the queue pair can not carry out this request; look at its opcode and lengths',
  LOC_PROT_ERR:
    'the memory of the request is not registered under this lkey, lies outside of the region, is of another ' +
    'protection domain, or the region lacks local-write (receives, reads and atomics write to it)',
  WR_FLUSH_ERR:
    'the queue pair is in the error state: an earlier request failed (look for the first completion that is ' +
    'no flush), or the program put it there',
  MW_BIND_ERR:
    'the region lacks mw-bind access, or the window opens more than the region allows or is of another domain',
  BAD_RESP_ERR:
    'the peer answered with what this request does not expect; is it the right queue pair?',
  LOC_ACCESS_ERR: 'a receive got a write with immediate data that its queue pair does not allow',
  REM_INV_REQ_ERR:
    'the peer refused the request: its receive is too small, its queue pair lacks remote access of this kind ' +
    '(qpAccessFlags), or too many reads are outstanding',
  REM_ACCESS_ERR:
    "the peer's memory is not open to this: a wrong or ended rkey, an address outside of the region, or a " +
    'region, window or queue pair without remote-read, remote-write or remote-atomic access',
  REM_OP_ERR:
    'the peer could not carry the request out; look at its own completions and asynchronous events',
  RETRY_EXC_ERR:
    'the peer did not answer: it has ended, its queue pair is not in RTR or RTS or was destroyed, or QP number, ' +
    'GID or LID are wrong',
  RNR_RETRY_EXC_ERR:
    'the peer had no receive posted for longer than rnrRetry allows; post receives before the peer sends, or ' +
    'connect with rnrRetry 7, which waits for ever',
  REM_ABORT_ERR: 'the peer aborted the operation',
  FATAL_ERR: 'the device failed; look at its asynchronous events',
  RESP_TIMEOUT_ERR: 'the peer did not answer in time',
  GENERAL_ERR: 'the device failed in a way of its own; see vendorError',
};

/** A work request failed. Code: `ERR_VERBS_COMPLETION`. */
export class CompletionError extends VerbsError {
  /** How the request ended. */
  readonly status: CompletionStatus;
  /** The id that it was posted with. */
  readonly id: number;
  /** The queue pair of this side. */
  readonly qpNum: number;
  /** The device's own code. */
  readonly vendorError: number;

  constructor(completion: WorkCompletion) {
    const { status, id, qpNum, vendorError } = completion;
    super(
      'ERR_VERBS_COMPLETION',
      `work request ${id} of queue pair ${qpNum} ended with ${status} (vendor error ${vendorError}): ` +
        (CAUSES[status] ?? 'see ibv_poll_cq(3)'),
      { call: 'cq.poll', verb: 'ibv_poll_cq', operands: { status, id, qpNum, vendorError } },
    );
    this.status = status;
    this.id = id;
    this.qpNum = qpNum;
    this.vendorError = vendorError;
  }
}

/**
 * One completion (ibv_wc). Unless the status is `SUCCESS`, only `id`, `status`, `qpNum` and `vendorError` mean
 * anything (ibv_poll_cq(3)).
 *
 * ```ts
 * import { openDevice } from 'viaduct/verbs';
 *
 * using device = openDevice();
 * const pd = device.allocPd();
 * const cq = device.createCq(16);
 * const qp = pd.createQp({ type: 'RC', sendCq: cq });
 * qp.connect(qp.endpoint()); // to itself
 * const mr = pd.registerMemory(new Uint8Array(64)); // not open to remote writes
 * qp.postSend({ id: 7, opcode: 'rdma-write', sge: mr.slice(0, 8), remote: mr.remote(32) });
 *
 * const completion = await cq.next({ timeoutMs: 5000 });
 * console.log(completion.ok, completion.status); // prints false REM_ACCESS_ERR
 * console.log(completion.error?.message); // prints work request 7 of queue pair … ended with REM_ACCESS_ERR…
 * ```
 */
export class WorkCompletion {
  /** The id that the request was posted with. */
  readonly id: number;
  /** How it ended. */
  readonly status: CompletionStatus;
  /** What was done. Means nothing unless it succeeded. */
  readonly opcode: CompletionOpcode;
  /** The device's own code of a failure; 0 on success. */
  readonly vendorError: number;
  /** Bytes received, with the 40 of the global routing header (UD), or read. */
  readonly byteLen: number;
  /** The queue pair of this side. */
  readonly qpNum: number;
  /** The sender's queue pair (UD). */
  readonly srcQp: number;
  /** ibv_wc_flags, or-ed: `WC_GRH`, `WC_WITH_IMM`, `WC_WITH_INV`. */
  readonly flags: number;
  /** The partition of a received datagram, as an index into the port's table. */
  readonly pkeyIndex: number;
  /** The local identifier that a datagram came from. */
  readonly slid: number;
  /** The service level of a received datagram. */
  readonly sl: number;
  /** Which of the port's local identifiers a datagram was sent to. */
  readonly dlidPathBits: number;
  /** The peer's 32 bits; undefined if it sent none. */
  readonly immediate: number | undefined;
  /** The key of this side that the peer ended. */
  readonly invalidatedRkey: number | undefined;
  /** When it completed, in ticks of the device's clock (`hcaCoreClock`); 0n unless asked for. */
  readonly timestamp: bigint;
  /** When it completed, in nanoseconds of the wall clock; 0n unless asked for. */
  readonly wallclockNs: bigint;

  /** @internal */
  constructor(ring: CompletionRing, slot: number) {
    this.id = ring.id(slot);
    this.status = WC_STATUS[ring.status(slot)] ?? 'GENERAL_ERR';
    this.opcode = completionOpcode(ring.opcode(slot));
    this.vendorError = ring.vendorError(slot);
    this.byteLen = ring.byteLen(slot);
    this.qpNum = ring.qpNum(slot);
    this.srcQp = ring.srcQp(slot);
    this.flags = ring.flags(slot);
    this.pkeyIndex = ring.pkeyIndex(slot);
    this.slid = ring.slid(slot);
    this.sl = ring.sl(slot);
    this.dlidPathBits = ring.dlidPathBits(slot);
    this.immediate = (this.flags & WC_WITH_IMM) !== 0 ? ring.immediate(slot) : undefined;
    this.invalidatedRkey =
      (this.flags & WC_WITH_INV) !== 0 ? ring.invalidatedRkey(slot) : undefined;
    this.timestamp = ring.timestamp(slot);
    this.wallclockNs = ring.wallclockNs(slot);
  }

  /** Whether it succeeded. */
  get ok(): boolean {
    return this.status === 'SUCCESS';
  }

  /** Whether the message begins with a global routing header of 40 bytes (UD). */
  get hasGrh(): boolean {
    return (this.flags & WC_GRH) !== 0;
  }

  /** What went wrong, with the likely causes; undefined on success. */
  get error(): CompletionError | undefined {
    return this.ok ? undefined : new CompletionError(this);
  }

  /** @throws CompletionError unless it succeeded. */
  check(): this {
    if (this.ok) return this;
    throw new CompletionError(this);
  }
}
