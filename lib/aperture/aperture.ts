/** The aperture: one piece of memory that all participants of a job on one host map, in a VM or not. */
import { constants } from 'node:buffer';
import { constants as system } from 'node:os';

import { ClosedError } from '../errors.js';
import { ApertureError } from './errors.js';
import { guestDoor } from './guest-door.js';
import * as header from './header.js';
import {
  isNativeError,
  native,
  type HeartbeatHandle,
  type LoopWatch,
  type MappingHandle,
} from './native.js';
import { PageAllocator } from './page-allocator.js';
import { HEARTBEAT_WORD, Participants } from './participants.js';

const { errno } = system;

/** Whoever creates the aperture owns blocks under this name; participant i owns them under i + 2. */
const CREATOR = 1;

/** Often enough to tell a process that is stopped within a second, and rare enough to cost nothing. */
const HEARTBEAT_MS = 250;

/** What `Aperture.create` is to make. */
export interface ApertureOptions {
  /** Bytes for blocks; the tables come on top, and the sum is rounded up to pages of 4096 bytes. */
  readonly sizeBytes: number;
  /** How many participants may attach. Default 64. */
  readonly participants?: number;
}

/**
 * Apertures that are open. Others know them by their path, which the garbage collector does not see: they stay open
 * until they are closed.
 */
const open = new Set<Aperture>();

/** A piece of an aperture that one participant allocated and any can map. */
export interface Block {
  /** Bytes from the start of the aperture: how to name the block to another participant. */
  readonly offset: number;
  /** The block itself; its length is what was asked for. */
  readonly buffer: ArrayBuffer;
}

/**
 * Memory shared by the processes and virtual machines of one job on one host.
 *
 * The memory has no name in the file system: others open `path` while the creator lives, and when the last of
 * them is gone so is the memory, however each of them ended.
 *
 * ```ts
 * import { Aperture } from 'viaduct/aperture';
 *
 * using mine = Aperture.create({ sizeBytes: 1 << 20 });
 * using theirs = Aperture.open(mine.path); // in any process of the same user
 * const { offset, buffer } = mine.allocate(64);
 * new Float64Array(buffer)[0] = 42;
 * console.log(new Float64Array(theirs.blockAt(offset, 64))[0]); // prints 42
 * ```
 */
export class Aperture {
  /** What to open in another process or to give to a VMM. */
  readonly path: string;
  /** Bytes of all of it: the tables and the room for blocks, a multiple of 4096. */
  readonly sizeBytes: number;
  /** The aperture as a whole, header included. Detached by `close`. */
  readonly memory: ArrayBuffer;
  /** Who takes part, and in what state each one is. */
  readonly participants: Participants;

  readonly #handle: MappingHandle;
  readonly #allocator: PageAllocator;
  readonly #blocks = new Map<number, WeakRef<ArrayBuffer>>();
  #owner = CREATOR;
  #heartbeat: HeartbeatHandle | undefined;
  #closed = false;

  private constructor(
    path: string,
    handle: MappingHandle,
    memory: ArrayBuffer,
    geometry: header.Geometry,
  ) {
    this.path = path;
    this.#handle = handle;
    this.memory = memory;
    this.sizeBytes = geometry.sizeBytes;
    this.participants = new Participants(memory, geometry.participantCapacity);
    const tableEnd = geometry.pageTableOffset + geometry.pageCount * 4;
    this.#allocator = new PageAllocator(
      new Int32Array(memory, geometry.pageTableOffset, geometry.pageCount),
      Math.ceil(tableEnd / header.PAGE_BYTES),
    );
    open.add(this);
  }

  /**
   * Makes a new aperture.
   *
   * @throws ApertureError `ERR_APERTURE_ARGUMENT`, `ERR_APERTURE_MEMORY`, `ERR_APERTURE_SYSTEM`.
   */
  static create(options: ApertureOptions): Aperture {
    const { sizeBytes, participants = 64 } = options;
    if (!(Number.isSafeInteger(sizeBytes) && sizeBytes > 0)) {
      throw new ApertureError(
        'ERR_APERTURE_ARGUMENT',
        `Aperture.create: sizeBytes must be a positive whole number of bytes, not ${sizeBytes}`,
        { call: 'Aperture.create', operands: { sizeBytes } },
      );
    }
    if (!(Number.isSafeInteger(participants) && participants > 0 && participants <= 65536)) {
      throw new ApertureError(
        'ERR_APERTURE_ARGUMENT',
        `Aperture.create: participants must be a whole number from 1 to 65536, not ${participants}`,
        { call: 'Aperture.create', operands: { participants } },
      );
    }
    const geometry = header.plan(sizeBytes, participants);
    if (geometry.sizeBytes > constants.MAX_LENGTH) {
      throw new ApertureError(
        'ERR_APERTURE_ARGUMENT',
        `Aperture.create: ${geometry.sizeBytes} bytes are more than one buffer of this Node.js can have ` +
          `(${constants.MAX_LENGTH}); ask for less, or start fewer ranks`,
        { call: 'Aperture.create', operands: { sizeBytes, limit: constants.MAX_LENGTH } },
      );
    }
    try {
      const mapping = native.createAperture(geometry.sizeBytes);
      header.format(mapping.memory, geometry);
      const path = `/proc/${process.pid}/fd/${mapping.descriptor}`;
      return new Aperture(path, mapping.handle, mapping.memory, geometry);
    } catch (error) {
      throw explain(error, 'Aperture.create', `${geometry.sizeBytes} bytes`);
    }
  }

  /**
   * Maps an aperture that another process made. The default is the job's own: the path in
   * `$VIADUCT_APERTURE`, else the door that a virtual machine has.
   *
   * @throws ApertureError `ERR_APERTURE_MISSING`, `ERR_APERTURE_ACCESS`, `ERR_APERTURE_FOREIGN`,
   *   `ERR_APERTURE_SYSTEM`.
   */
  static open(path: string = process.env['VIADUCT_APERTURE'] ?? guestDoor()): Aperture {
    let mapping;
    try {
      mapping = native.openAperture(path);
    } catch (error) {
      throw explain(error, 'Aperture.open', path);
    }
    try {
      const geometry = header.parse(mapping.memory, path);
      return new Aperture(path, mapping.handle, mapping.memory, geometry);
    } catch (error) {
      native.detach(mapping.memory);
      native.closeAperture(mapping.handle);
      throw error;
    }
  }

  /** 32 hexadecimal digits; equal for two participants if and only if they see the same memory. */
  get identity(): string {
    return header.identity(this.#open('identity').memory);
  }

  /**
   * Joins the table of participants under an index of one's own, and beats there until `close`.
   *
   * @throws ApertureError `ERR_APERTURE_PARTICIPANT` when the index is taken or out of range.
   */
  attach(index: number): void {
    this.#open('attach').participants.attach(index);
    this.#owner = index + 2;
    const word = this.participants.recordWord(index) + HEARTBEAT_WORD;
    this.#heartbeat ??= native.startHeartbeat(this.#handle, word * 4, HEARTBEAT_MS);
  }

  /**
   * A new block, zeroed when first used, aligned to 4096 bytes.
   *
   * @throws ApertureError `ERR_APERTURE_FULL` when no run of free pages is long enough.
   */
  allocate(sizeBytes: number): Block {
    this.#open('allocate');
    if (!(Number.isSafeInteger(sizeBytes) && sizeBytes > 0)) {
      throw new ApertureError(
        'ERR_APERTURE_ARGUMENT',
        `aperture.allocate: the size must be a positive whole number of bytes, not ${sizeBytes}`,
        { call: 'aperture.allocate', operands: { sizeBytes } },
      );
    }
    const page = this.#allocator.allocate(Math.ceil(sizeBytes / header.PAGE_BYTES), this.#owner);
    if (page < 0) {
      throw new ApertureError(
        'ERR_APERTURE_FULL',
        `aperture.allocate: no ${sizeBytes} bytes in a row are free in this aperture ` +
          `(${this.freeBytes} bytes are free in all); free blocks or create a larger aperture`,
        { call: 'aperture.allocate', operands: { sizeBytes, freeBytes: this.freeBytes } },
      );
    }
    const offset = page * header.PAGE_BYTES;
    return { offset, buffer: this.#bufferAt(offset, sizeBytes) };
  }

  /**
   * Gives back a block that this participant allocated. Its ArrayBuffer is detached here; in other
   * participants it shows whatever comes to stand there next.
   *
   * @throws ApertureError `ERR_APERTURE_ARGUMENT` when this participant has no block there.
   */
  free(block: Block): void {
    this.#open('free');
    const page = block.offset / header.PAGE_BYTES;
    if (!Number.isInteger(page) || this.#allocator.length(page) === 0) {
      throw this.#notABlock('free', block.offset);
    }
    // Before the pages are free: nobody may hold a window on pages that are already somebody else's.
    if (block.buffer.byteLength > 0) native.detach(block.buffer);
    this.#blocks.delete(block.offset);
    if (this.#allocator.free(page, this.#owner) === 0) throw this.#notABlock('free', block.offset);
  }

  /**
   * Another participant's block as an ArrayBuffer of this process.
   *
   * @throws ApertureError `ERR_APERTURE_ARGUMENT` when no block of that size is there.
   */
  blockAt(offset: number, sizeBytes: number): ArrayBuffer {
    this.#open('blockAt');
    const pages = this.#allocator.length(offset / header.PAGE_BYTES);
    if (!(sizeBytes > 0 && sizeBytes <= pages * header.PAGE_BYTES)) {
      throw this.#notABlock('blockAt', offset, sizeBytes);
    }
    return this.#bufferAt(offset, sizeBytes);
  }

  /** Bytes that no block takes. */
  get freeBytes(): number {
    return this.#open('freeBytes').#allocator.freePages * header.PAGE_BYTES;
  }

  /**
   * Gives back all blocks of a participant that is gone; returns how many bytes.
   *
   * @throws ApertureError `ERR_APERTURE_PARTICIPANT` when the index is out of range.
   */
  reclaim(index: number): number {
    this.participants.recordWord(index);
    return this.#open('reclaim').#allocator.reclaim(index + 2) * header.PAGE_BYTES;
  }

  /** @internal Names a block to the layer that looks for it under this root. */
  setRoot(index: number, extent: header.Extent): void {
    header.setRoot(this.#open('setRoot').memory, index, extent);
  }

  /** @internal */
  root(index: number): header.Extent | undefined {
    return header.root(this.#open('root').memory, index);
  }

  /** @internal A watch that calls back on the event loop when a participant's doorbell is rung. */
  watchDoorbell(wordOffset: number, onRing: () => void): LoopWatch {
    return new native.LoopWatch(this.#open('watchDoorbell').#handle, wordOffset, onRing);
  }

  /** Unmaps the memory; every ArrayBuffer over it is detached. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    open.delete(this);
    if (this.#heartbeat !== undefined) native.stopHeartbeat(this.#heartbeat);
    for (const reference of this.#blocks.values()) {
      const buffer = reference.deref();
      if (buffer !== undefined && buffer.byteLength > 0) native.detach(buffer);
    }
    this.#blocks.clear();
    native.detach(this.memory);
    native.closeAperture(this.#handle);
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #open(call: string): this {
    if (this.#closed) throw new ClosedError('aperture', `aperture.${call}`);
    return this;
  }

  /** One live ArrayBuffer per address: what V8 demands. A stale one of another length is detached. */
  #bufferAt(offset: number, sizeBytes: number): ArrayBuffer {
    const known = this.#blocks.get(offset)?.deref();
    if (known !== undefined && known.byteLength === sizeBytes) return known;
    if (known !== undefined && known.byteLength > 0) native.detach(known);
    const buffer = native.mapBlock(this.#handle, offset, sizeBytes);
    this.#blocks.set(offset, new WeakRef(buffer));
    return buffer;
  }

  #notABlock(call: string, offset: number, sizeBytes?: number): ApertureError {
    const size = sizeBytes === undefined ? '' : ` of ${sizeBytes} bytes`;
    return new ApertureError(
      'ERR_APERTURE_ARGUMENT',
      `aperture.${call}: no block${size} of this participant's reach begins at offset ${offset}; ` +
        'use the offset that allocate returned',
      { call: `aperture.${call}`, operands: { offset, sizeBytes } },
    );
  }
}

function explain(error: unknown, call: string, subject: string): unknown {
  if (!isNativeError(error)) return error;
  const details = { call, operands: { subject }, errno: error.errno, cause: error };
  switch (error.errno) {
    case errno.ENOENT:
    case errno.ENXIO:
      return new ApertureError(
        'ERR_APERTURE_MISSING',
        `${call}: there is no aperture at ${subject}; its job has ended, or this program was not started by ` +
          '`viaduct run`',
        details,
      );
    case errno.EACCES:
    case errno.EPERM:
      return new ApertureError(
        'ERR_APERTURE_ACCESS',
        `${call}: ${subject} belongs to another user's job (${error.message})`,
        details,
      );
    case errno.ENODATA:
      return new ApertureError(
        'ERR_APERTURE_FOREIGN',
        `${call}: ${subject} is not an aperture: it is smaller than a page`,
        details,
      );
    case errno.ENOMEM:
      return new ApertureError(
        'ERR_APERTURE_MEMORY',
        `${call}: no memory for ${subject}; free some, or ask for less (${error.message})`,
        details,
      );
    default:
      return new ApertureError(
        'ERR_APERTURE_SYSTEM',
        `${call}: ${subject}: ${error.message}`,
        details,
      );
  }
}
