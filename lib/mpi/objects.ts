/**
 * Values as messages: what `structuredClone` can copy, by the serialisation of node:v8, but for views of large buffers,
 * which go as messages of their own and are copied only once.
 *
 * The first message: a magic word, how many parts follow, the tag of the first of them, then the serialised value, in
 * which each part stands as its type and size.
 */
import { DefaultDeserializer, DefaultSerializer } from 'node:v8';

import { MpiError } from './errors.js';

const MAGIC = 0x4a424f56; // "VOBJ"
const HEAD_BYTES = 12;
/** Smaller views are not worth a message. */
const PART_FROM_BYTES = 16384;
const INLINE = 0;
const PART = 1;

const VIEWS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;
const BUFFER = VIEWS.length;
const DATA_VIEW = VIEWS.length + 1;

function typeOf(view: ArrayBufferView): number {
  if (Buffer.isBuffer(view)) return BUFFER;
  if (view instanceof DataView) return DATA_VIEW;
  return VIEWS.findIndex((type) => view instanceof type);
}

function viewOver(type: number, bytes: Uint8Array<ArrayBuffer>): ArrayBufferView {
  const { buffer, byteOffset, byteLength } = bytes;
  if (type === BUFFER) return Buffer.from(buffer, byteOffset, byteLength);
  if (type === DATA_VIEW) return new DataView(buffer, byteOffset, byteLength);
  const view = VIEWS[type];
  if (view === undefined) throw noObject('it has a view of an unknown type');
  return new view(buffer, byteOffset, byteLength / view.BYTES_PER_ELEMENT);
}

class ObjectSerializer extends DefaultSerializer {
  readonly parts: Uint8Array[] = [];

  /** Called by node:v8 for each view. */
  _writeHostObject(view: ArrayBufferView): void {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const isPart = bytes.length >= PART_FROM_BYTES;
    this.writeUint32(typeOf(view));
    this.writeUint32(isPart ? PART : INLINE);
    this.writeDouble(bytes.length);
    if (isPart) this.parts.push(bytes);
    else this.writeRawBytes(bytes);
  }
}

class ObjectDeserializer extends DefaultDeserializer {
  readonly parts: Uint8Array[] = [];

  /** Called by node:v8 for each view. */
  _readHostObject(): ArrayBufferView {
    const type = this.readUint32();
    const isPart = this.readUint32() === PART;
    const byteLength = this.readDouble();
    const bytes = new Uint8Array(byteLength);
    if (isPart) this.parts.push(bytes);
    else bytes.set(this.readRawBytes(byteLength));
    return viewOver(type, bytes);
  }
}

/** @throws MpiError `ERR_MPI_TYPE` for what can't be cloned. */
export function encodeObject(
  value: unknown,
  firstTag: number,
  call: string,
): { head: Uint8Array; parts: readonly Uint8Array[] } {
  const serializer = new ObjectSerializer();
  const start = Buffer.alloc(HEAD_BYTES);
  // Room for the head; how many parts there are is known afterwards.
  serializer.writeRawBytes(start);
  try {
    serializer.writeHeader();
    serializer.writeValue(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MpiError('ERR_MPI_TYPE', `${call}: this value can't be cloned: ${why}`, {
      call,
      cause,
    });
  }
  const head = serializer.releaseBuffer();
  head.writeUInt32LE(MAGIC, 0);
  head.writeUInt32LE(serializer.parts.length, 4);
  head.writeUInt32LE(firstTag, 8);
  return { head, parts: serializer.parts };
}

/**
 * The value, whose parts are yet to be filled.
 *
 * @throws MpiError `ERR_MPI_TYPE` when the message is no object.
 */
export function decodeObject(data: Uint8Array): {
  value: unknown;
  firstTag: number;
  parts: readonly Uint8Array[];
} {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.length < HEAD_BYTES || bytes.readUInt32LE(0) !== MAGIC) {
    throw noObject('it was sent by other means than sendObject; receive it by recv or receive');
  }
  const deserializer = new ObjectDeserializer(bytes.subarray(HEAD_BYTES));
  let value: unknown;
  try {
    deserializer.readHeader();
    value = deserializer.readValue();
  } catch (cause) {
    throw noObject('its serialisation is damaged or of another version of Node.js', cause);
  }
  const { parts } = deserializer;
  if (parts.length !== bytes.readUInt32LE(4)) throw noObject('it does not have the parts it names');
  return { value, firstTag: bytes.readUInt32LE(8), parts };
}

function noObject(why: string, cause?: unknown): MpiError {
  return new MpiError('ERR_MPI_TYPE', `recvObject: this message is no object: ${why}`, {
    call: 'recvObject',
    cause,
  });
}
