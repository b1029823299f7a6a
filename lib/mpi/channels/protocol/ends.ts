/** What the protocol between two ranks asks of the queue that a channel gives it: its sending and its receiving end. */
import type { Memory } from '../../memory.js';

/** The sending end. What it places reaches the peer in order; false: there is no room for it now. */
export interface Outlet {
  /** A message that fits into its cell. */
  tryShort(kind: number, context: number, tag: number, memory: Memory): boolean;
  /** A longer message as a whole. */
  tryLong(kind: number, context: number, tag: number, memory: Memory, sendId: number): boolean;
  /** Announces a message whose bytes the receiver asks for, or takes itself at `address`. */
  tryAnnouncement(
    kind: number,
    context: number,
    tag: number,
    byteLength: number,
    sendId: number,
    address: number,
    key: number,
  ): boolean;
  /** A reply about a message that the receiver of this cell knows by `id`. */
  tryReply(kind: number, id: number, argument: number, address: number, key: number): boolean;
  /** One fragment of a large message, from `offset` on. */
  tryFragment(kind: number, id: number, memory: Memory, offset: number, length: number): boolean;
  /** Whether the receiver wants no more messages that it has not asked for. */
  readonly isCongested: boolean;
  /** Called when the receiver turns out to have as much as it can keep. */
  onCongestion: () => void;
}

/** The receiving end, whose next cell the channel has found. */
export interface Inlet {
  /** Copies a message that fits into its cell to the front of a memory that is large enough. */
  takeShort(cell: number, length: number, memory: Memory): void;
  /** The message of a cell as a copy of its own; only those that may be are in the cell itself, if short. */
  takeCopy(cell: number, length: number, mayBeShort: boolean): Uint8Array;
  /** Copies a cell's payload to `offset` in a memory. */
  takePayload(cell: number, length: number, memory: Memory, offset: number): void;
  /** Asks the sender to announce even short messages, or no longer. */
  setCongested(isCongested: boolean): void;
}
