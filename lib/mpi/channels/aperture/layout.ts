/**
 * Where the queues of the aperture channel stand.
 *
 * A block of the aperture holds, after its header, what each rank says of what it waits for (wait-board.ts), each rank's
 * inbox (inbox.ts), its card (card-board.ts), and one queue for each ordered pair of ranks, sender by sender. A queue is a ring of
 * cells, one cache line each, and as many slots for payloads that do not fit into a cell: cell i has slot i, and a
 * long payload goes on through the slots that follow, whose cells are then passed over. Only the sender writes to
 * these; only the receiver writes to the line that says how far it has read. So no line is written by two, and a
 * small message is one line that moves from one core to the other.
 *
 * Of a cell (../protocol/cell.ts) the queue uses word 0, the stamp: number of the cell since the start, plus one; written
 * last, so it says that the cell is ready; and word 5: bytes to pass over at the start of the slot.
 */
import type { Aperture } from '../../../aperture/index.js';
import { PAGE_BYTES, ROOT_MPI } from '../../../aperture/header.js';
import { SLEEPING_WORD } from '../../../aperture/participants.js';
import { MpiError } from '../../errors.js';
import { CELL_BYTES } from '../protocol/cell.js';

const MAGIC = 0x3349504d; // "MPI3"
const HEADER_BYTES = 4096;
/** Up to here a rank's queues are mapped at the start. */
const PREFAULT_RANKS = 8;
const MAGIC_WORD = 0;
const SIZE_WORD = 1;
const CELLS_WORD = 2;
const SLOT_WORD = 3;

export const STAMP = 0;
export const SHIFT = 5;

/** Before the cells: a line that the receiver writes, and one that the sender writes. */
const CONTROL_BYTES = 128;
export const CONSUMED = 0;
/** Not 0 while the receiver keeps as much as it may of what came before its receives: the sender then only announces. */
export const CONGESTED = 1;
/** Not 0 while the sender waits for room: the receiver then rings its doorbell when it makes some. */
export const ROOM_WANTED = 16;

/**
 * Slots are this much longer than a power of two: neighbours then do not compete for the same sets of a cache, and a
 * payload can be shifted by a line within its slot (see copy.ts).
 */
const SLOT_SLACK_BYTES = 128;

/** In a participant's word that says that it sleeps: it also wants word in its inbox. */
export const READS_INBOX = 2;

export interface QueueGeometry {
  readonly ranks: number;
  readonly cells: number;
  readonly slotBytes: number;
}

export interface QueuePlace {
  /** Byte offsets from the start of the aperture. */
  readonly control: number;
  readonly cells: number;
  readonly slots: number;
}

/** Queue sizes for a job: long queues for few ranks, shorter ones for many, whose squares add up. */
export function geometryFor(ranks: number): QueueGeometry {
  if (ranks <= 8) return { ranks, cells: 256, slotBytes: 2048 + SLOT_SLACK_BYTES };
  if (ranks <= 32) return { ranks, cells: 128, slotBytes: 1024 + SLOT_SLACK_BYTES };
  return { ranks, cells: 64, slotBytes: 512 + SLOT_SLACK_BYTES };
}

/** Bytes that a message may have to be sent whole, or a fragment: an eighth of the queue. */
export function longestPayload(geometry: QueueGeometry): number {
  return ((geometry.cells / 8) * (geometry.slotBytes - SLOT_SLACK_BYTES)) | 0;
}

function queueBytes(geometry: QueueGeometry): number {
  const bytes = CONTROL_BYTES + geometry.cells * (CELL_BYTES + geometry.slotBytes);
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Where the queues begin in the block. */
function queuesStart({ ranks }: QueueGeometry): number {
  const bytes = HEADER_BYTES + ranks * (BOARD_BYTES + inboxBytes(ranks) + CARD_BYTES);
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

function blockBytes(geometry: QueueGeometry): number {
  return queuesStart(geometry) + geometry.ranks * geometry.ranks * queueBytes(geometry);
}

/**
 * With more peers than this a rank looks into the queues of those only that were heard of lately; the others say in its
 * inbox that they have sent something.
 */
export const ACTIVE_PEERS = 7;

export const hasInboxes = (ranks: number): boolean => ranks - 1 > ACTIVE_PEERS;

const LINE_BYTES = 64;

/** A line that counts news, then two bits for each rank, in lines of their own. */
export function inboxBytes(ranks: number): number {
  return LINE_BYTES + 2 * Math.ceil(ranks / (8 * LINE_BYTES)) * LINE_BYTES;
}

/** What one rank waits for. */
export const BOARD_BYTES = 512;
/** How to reach one rank otherwise than by the aperture. */
export const CARD_BYTES = 512;

/** Bytes of blocks that an aperture needs for message passing among `ranks` ranks. */
export function apertureSizeBytes(ranks: number): number {
  return blockBytes(geometryFor(ranks));
}

/** Makes the queues in a new aperture, before any rank attaches. */
export function formatAperture(aperture: Aperture, ranks: number): void {
  const geometry = geometryFor(ranks);
  const sizeBytes = blockBytes(geometry);
  const { offset, buffer } = aperture.allocate(sizeBytes);
  const header = new Int32Array(buffer, 0, 4);
  header[SIZE_WORD] = ranks;
  header[CELLS_WORD] = geometry.cells;
  header[SLOT_WORD] = geometry.slotBytes;
  header[MAGIC_WORD] = MAGIC;
  if (hasInboxes(ranks)) {
    const { participants } = aperture;
    for (let rank = 0; rank < ranks; rank++) {
      participants.words[participants.recordWord(rank) + SLEEPING_WORD] = READS_INBOX;
    }
  }
  aperture.setRoot(ROOT_MPI, { offset, sizeBytes });
}

export class Layout {
  readonly geometry: QueueGeometry;
  readonly #base: number;

  /** @throws MpiError `ERR_MPI_LAYOUT` when the aperture holds no queues for this number of ranks. */
  constructor(aperture: Aperture, ranks: number) {
    const wrong = (why: string): MpiError =>
      new MpiError(
        'ERR_MPI_LAYOUT',
        `init: the aperture ${aperture.path} ${why}; start all ranks by one \`viaduct run\``,
        { call: 'init', operands: { path: aperture.path, ranks } },
      );
    const root = aperture.root(ROOT_MPI);
    if (root === undefined) throw wrong('holds no message queues');
    const header = new Int32Array(aperture.memory, root.offset, 4);
    if (header[MAGIC_WORD] !== MAGIC) throw wrong('holds queues of another version of viaduct');
    if (header[SIZE_WORD] !== ranks) {
      throw wrong(`was made for ${header[SIZE_WORD]} ranks, not for ${ranks}`);
    }
    this.geometry = {
      ranks,
      cells: header[CELLS_WORD],
      slotBytes: header[SLOT_WORD],
    };
    this.#base = root.offset;
    if (
      root.sizeBytes !== blockBytes(this.geometry) ||
      root.offset + root.sizeBytes > aperture.sizeBytes
    ) {
      throw wrong('holds queues whose sizes contradict each other');
    }
  }

  queue(from: number, to: number): QueuePlace {
    const { ranks, cells } = this.geometry;
    const start =
      this.#base + queuesStart(this.geometry) + (from * ranks + to) * queueBytes(this.geometry);
    const firstCell = start + CONTROL_BYTES;
    return { control: start, cells: firstCell, slots: firstCell + cells * CELL_BYTES };
  }

  /** Byte offset of what a rank says of its waiting. */
  board(rank: number): number {
    return this.#base + HEADER_BYTES + rank * BOARD_BYTES;
  }

  /** Byte offset of a rank's inbox. */
  inbox(rank: number): number {
    const { ranks } = this.geometry;
    return this.board(ranks) + rank * inboxBytes(ranks);
  }

  /** Byte offset of a rank's card. */
  card(rank: number): number {
    return this.inbox(this.geometry.ranks) + rank * CARD_BYTES;
  }

  /**
   * Has the kernel map a queue's pages now, instead of in the middle of the first messages: a page fault costs
   * microseconds, in a User-Mode Linux guest dozens of them. Many ranks have more queues than they use, so there each
   * page waits for its first message.
   */
  prefault(words: Int32Array, from: number, to: number): void {
    if (this.geometry.ranks > PREFAULT_RANKS) return;
    const first = this.queue(from, to).control / 4;
    const end = first + queueBytes(this.geometry) / 4;
    for (let word = first; word < end; word += PAGE_BYTES / 4) Atomics.or(words, word, 0);
  }
}
