/**
 * The first page of an aperture: who made it, how large it is, and where its tables are.
 *
 * | byte | field |
 * | --- | --- |
 * | 0 | magic, the eight characters `VIADUCT\n` |
 * | 8 | layout version |
 * | 12 | participants that the table has room for |
 * | 16 | size of the aperture in bytes, 64 bits (native code reads it to map a device that has no size) |
 * | 24 | identity, 16 random bytes: tells two participants that they see the same aperture |
 * | 40 | failures: counts participants marked failed, so that one load tells a waiting rank of trouble |
 * | 44 | offset of the page table of the allocator |
 * | 48 | pages in that table |
 * | 64 | roots: eight pairs of 64-bit offset and size, where the layers above find their blocks |
 *
 * Participants follow at byte 4096. All fields are little-endian, as all hosts of this project are.
 */
import { readFileSync } from 'node:fs';

import { ApertureError } from './errors.js';

const MAGIC = Buffer.from('VIADUCT\n', 'latin1');

/** Increased whenever a field moves; both sides of an aperture must be of one version. */
export const LAYOUT_VERSION = 2;

export const PAGE_BYTES = 4096;
export const PARTICIPANTS_OFFSET = PAGE_BYTES;
export const PARTICIPANT_BYTES = 256;
export const FAILURES_WORD = 40 / 4;

const VERSION_WORD = 8 / 4;
const CAPACITY_WORD = 12 / 4;
const SIZE_OFFSET = 16;
const IDENTITY_OFFSET = 24;
const IDENTITY_BYTES = 16;
const PAGE_TABLE_WORD = 44 / 4;
const PAGE_COUNT_WORD = 48 / 4;
const ROOTS_OFFSET = 64;
const ROOT_BYTES = 16;
const ROOT_COUNT = 8;

export interface Geometry {
  readonly sizeBytes: number;
  readonly participantCapacity: number;
  readonly pageTableOffset: number;
  readonly pageCount: number;
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Places the tables for an aperture with room for `blockBytes` of blocks. */
export function plan(blockBytes: number, participantCapacity: number): Geometry {
  const pageTableOffset =
    PARTICIPANTS_OFFSET + roundUp(participantCapacity * PARTICIPANT_BYTES, 64);
  let pageCount = Math.ceil(blockBytes / PAGE_BYTES);
  const tablePages = Math.ceil((pageTableOffset + pageCount * 4) / PAGE_BYTES);
  // The table describes the pages that it stands in too: page numbers are then offsets in pages.
  pageCount += Math.ceil((pageTableOffset + (pageCount + tablePages + 1) * 4) / PAGE_BYTES);
  return { sizeBytes: pageCount * PAGE_BYTES, participantCapacity, pageTableOffset, pageCount };
}

/** Writes the header of a new aperture; the magic last, so that a half-written one is foreign. */
export function format(memory: ArrayBuffer, geometry: Geometry): void {
  const words = new Uint32Array(memory, 0, PAGE_BYTES / 4);
  const view = new DataView(memory, 0, PAGE_BYTES);
  words[VERSION_WORD] = LAYOUT_VERSION;
  words[CAPACITY_WORD] = geometry.participantCapacity;
  view.setBigUint64(SIZE_OFFSET, BigInt(geometry.sizeBytes), true);
  new Uint8Array(memory, IDENTITY_OFFSET, IDENTITY_BYTES).set(newIdentity());
  words[PAGE_TABLE_WORD] = geometry.pageTableOffset;
  words[PAGE_COUNT_WORD] = geometry.pageCount;
  new Uint8Array(memory, 0, MAGIC.length).set(MAGIC);
}

/** Reads and checks the header of an aperture that somebody else made. */
export function parse(memory: ArrayBuffer, path: string): Geometry {
  const foreign = (why: string): ApertureError =>
    new ApertureError(
      'ERR_APERTURE_FOREIGN',
      `Aperture.open: ${path} is not an aperture of this version of viaduct (${why}); ` +
        'start all programs of a job with the same version',
      { call: 'Aperture.open', operands: { path } },
    );
  if (memory.byteLength < PAGE_BYTES) throw foreign(`${memory.byteLength} bytes are too few`);
  if (!MAGIC.equals(new Uint8Array(memory, 0, MAGIC.length))) throw foreign('wrong magic');
  const words = new Uint32Array(memory, 0, PAGE_BYTES / 4);
  const version = words[VERSION_WORD];
  if (version !== LAYOUT_VERSION) throw foreign(`layout ${version} instead of ${LAYOUT_VERSION}`);
  const sizeBytes = Number(new DataView(memory, 0, PAGE_BYTES).getBigUint64(SIZE_OFFSET, true));
  const geometry = {
    sizeBytes,
    participantCapacity: words[CAPACITY_WORD],
    pageTableOffset: words[PAGE_TABLE_WORD],
    pageCount: words[PAGE_COUNT_WORD],
  };
  const participantsEnd = PARTICIPANTS_OFFSET + geometry.participantCapacity * PARTICIPANT_BYTES;
  if (
    sizeBytes > memory.byteLength ||
    geometry.pageCount * PAGE_BYTES !== sizeBytes ||
    geometry.pageTableOffset % 4 !== 0 ||
    geometry.pageTableOffset < participantsEnd ||
    geometry.pageTableOffset + geometry.pageCount * 4 > sizeBytes
  ) {
    throw foreign('its sizes contradict each other');
  }
  return geometry;
}

/** The identity of the aperture, 32 hexadecimal digits. */
export function identity(memory: ArrayBuffer): string {
  return Buffer.from(memory, IDENTITY_OFFSET, IDENTITY_BYTES).toString('hex');
}

/** Which layer's block a root names. */
export const ROOT_MPI = 0;

export interface Extent {
  readonly offset: number;
  readonly sizeBytes: number;
}

export function setRoot(memory: ArrayBuffer, index: number, extent: Extent): void {
  const view = new DataView(memory, ROOTS_OFFSET + checkRoot(index) * ROOT_BYTES, ROOT_BYTES);
  view.setBigUint64(0, BigInt(extent.offset), true);
  view.setBigUint64(8, BigInt(extent.sizeBytes), true);
}

export function root(memory: ArrayBuffer, index: number): Extent | undefined {
  const view = new DataView(memory, ROOTS_OFFSET + checkRoot(index) * ROOT_BYTES, ROOT_BYTES);
  const offset = Number(view.getBigUint64(0, true));
  const sizeBytes = Number(view.getBigUint64(8, true));
  return offset === 0 ? undefined : { offset, sizeBytes };
}

function checkRoot(index: number): number {
  if (!(index >= 0 && index < ROOT_COUNT)) {
    throw new ApertureError('ERR_APERTURE_ARGUMENT', `no root ${index} in an aperture`, {
      operands: { index },
    });
  }
  return index;
}

/** The kernel's, for loading node:crypto would take longer than all else that is done here. */
function newIdentity(): Uint8Array {
  const uuid = readFileSync('/proc/sys/kernel/random/uuid', 'latin1').trim();
  return Buffer.from(uuid.replaceAll('-', ''), 'hex');
}
