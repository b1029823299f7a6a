/** Warns of mistakes that verbs punish late or silently. On by `openDevice(name, { debug: true })` or $VIADUCT_VERBS_DEBUG. */
import type { CompletionQueue } from './completion-queue.js';
import { SIGNALED } from './enumerations.js';
import type { QueuePair } from './queue-pair.js';
import type { CompletionRing } from './rings/completion-ring.js';
import type { SendRing } from './rings/send-ring.js';

/** The codes of the warnings, for `process.on('warning')`. */
export const PITFALL = {
  /** A send queue fills up with requests of which none will be completed. */
  unsignaled: 'VIADUCT_VERBS_UNSIGNALED',
  /** A queue pair is made ready to receive without any receive. */
  noReceive: 'VIADUCT_VERBS_NO_RECEIVE',
  /** A completion queue can't hold the completions of its queue pairs. */
  smallCq: 'VIADUCT_VERBS_SMALL_CQ',
} as const;

function warn(code: string, message: string): void {
  process.emitWarning(message, { type: 'VerbsWarning', code });
}

interface SendQueue {
  readonly qp: QueuePair;
  unsignaledInARow: number;
  warned: boolean;
}

/** What one device's objects did, as far as the warnings need it. */
export class PitfallWatch {
  readonly #sendQueues = new Map<number, SendQueue>();
  readonly #withReceives = new Set<number>();
  readonly #demand = new Map<CompletionQueue, number>();

  created(
    qp: QueuePair,
    sendCq: CompletionQueue | undefined,
    recvCq: CompletionQueue | undefined,
  ): void {
    this.#sendQueues.set(qp.qpNum, { qp, unsignaledInARow: 0, warned: false });
    if (sendCq !== undefined) this.#need(sendCq, qp.cap.maxSendWr);
    if (recvCq !== undefined) this.#need(recvCq, qp.cap.maxRecvWr);
  }

  #need(cq: CompletionQueue, entries: number): void {
    cq.watchPitfalls(this);
    const demand = (this.#demand.get(cq) ?? 0) + entries;
    this.#demand.set(cq, demand);
    if (demand <= cq.capacity) return;
    warn(
      PITFALL.smallCq,
      `a completion queue of ${cq.capacity} entries serves queues of ${demand} work requests: it can overrun, ` +
        'which ends all of its queue pairs; create it larger, or poll before posting more',
    );
  }

  sending(qp: QueuePair, ring: SendRing, first: number, count: number): void {
    const queue = this.#sendQueues.get(qp.qpNum);
    if (queue === undefined || qp.signalAll) return;
    for (let i = first; i < first + count; i++) {
      queue.unsignaledInARow = (ring.flags(i) & SIGNALED) !== 0 ? 0 : queue.unsignaledInARow + 1;
      if (queue.unsignaledInARow < qp.cap.maxSendWr || queue.warned) continue;
      queue.warned = true;
      warn(
        PITFALL.unsignaled,
        `queue pair ${qp.qpNum} was given ${queue.unsignaledInARow} unsignaled requests in a row and holds ` +
          `${qp.cap.maxSendWr}: nothing will free them; signal at least one in ${qp.cap.maxSendWr}`,
      );
    }
  }

  receiving(qp: QueuePair): void {
    this.#withReceives.add(qp.qpNum);
  }

  becameReady(qp: QueuePair): void {
    if (qp.hasSharedReceiveQueue || this.#withReceives.has(qp.qpNum)) return;
    if (qp.cap.maxRecvWr === 0) return;
    warn(
      PITFALL.noReceive,
      `queue pair ${qp.qpNum} became ready to receive with no receive posted: what the peer sends now is refused ` +
        '(RC) or dropped (UC, UD); post receives before connecting',
    );
  }

  polled(ring: CompletionRing, count: number): void {
    for (let i = 0; i < count; i++) {
      const queue = this.#sendQueues.get(ring.qpNum(i));
      if (queue !== undefined && ring.status(i) === 0 && ring.opcode(i) < 128) queue.warned = false;
    }
  }

  closed(qp: QueuePair): void {
    this.#sendQueues.delete(qp.qpNum);
    this.#withReceives.delete(qp.qpNum);
  }
}
