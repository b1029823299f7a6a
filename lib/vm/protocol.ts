/**
 * Frames of the control channel to the guest agent: header, limits, decoder.
 * The other side is native/guest/frame.h, which says what each type carries.
 */

export const PROTOCOL_VERSION = 2;
export const HEADER_BYTES = 12;
export const MAX_PAYLOAD_BYTES = 1 << 20;
/** How much of one standard stream may be on its way before the receiver grants more. */
export const INITIAL_WINDOW_BYTES = 1 << 18;
/** How much may be on the line that the agent has not read. */
export const LINE_WINDOW_BYTES = 3072;

const MAGIC = 0x4456;
const HELLO_MAGIC = 'viaduct';

export const FRAME = {
  hello: 1,
  exec: 2,
  started: 3,
  failed: 4,
  input: 5,
  output: 6,
  error: 7,
  window: 8,
  exited: 9,
  signal: 10,
  network: 11,
  done: 12,
  ping: 13,
  pong: 14,
  memory: 15,
  powerOff: 16,
  received: 17,
} as const;
export type FrameType = (typeof FRAME)[keyof typeof FRAME];

const knownTypes: ReadonlySet<number> = new Set(Object.values(FRAME));

export interface Frame {
  readonly type: FrameType;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Bytes that are no frame, or a frame that doesn't hold what its type says. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** One frame's bytes. The caller keeps `payload` within `MAX_PAYLOAD_BYTES`. */
export function encodeFrame(type: FrameType, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  bytes.writeUInt16LE(MAGIC, 0);
  bytes.writeUInt8(type, 2);
  bytes.writeUInt8(0, 3);
  bytes.writeUInt32LE(stream, 4);
  bytes.writeUInt32LE(payload.byteLength, 8);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

function isFrameType(type: number): type is FrameType {
  return knownTypes.has(type);
}

/** Takes bytes in pieces of any size and gives frames. */
export class FrameDecoder {
  readonly #start: Buffer | undefined;
  #started: boolean;
  #pieces: Buffer[] = [];
  #byteLength = 0;

  /**
   * @param session the stream of a greeting: all before it was meant for a former host of the machine, and may begin
   * and end amid a frame. By default the first byte begins a frame.
   */
  constructor(session?: number) {
    this.#started = session === undefined;
    if (session !== undefined) {
      this.#start = encodeFrame(FRAME.hello, session, Buffer.alloc(0)).subarray(0, 8);
    }
  }

  /** @throws FrameError after which the position of the next frame is unknown. */
  *decode(piece: Buffer): Generator<Frame> {
    this.#pieces.push(piece);
    this.#byteLength += piece.byteLength;
    if (!this.#started) this.#findStart();
    if (!this.#started) return;
    while (this.#byteLength >= HEADER_BYTES) {
      const header = this.#first(HEADER_BYTES);
      const type = header.readUInt8(2);
      const length = header.readUInt32LE(8);
      if (header.readUInt16LE(0) !== MAGIC) {
        throw new FrameError(
          `no frame starts with ${header.subarray(0, HEADER_BYTES).toString('hex')}`,
        );
      }
      if (header.readUInt8(3) !== 0) throw new FrameError('a reserved byte is not zero');
      if (!isFrameType(type)) throw new FrameError(`unknown frame type ${type}`);
      if (length > MAX_PAYLOAD_BYTES) {
        throw new FrameError(`a frame of ${length} bytes is longer than the limit`);
      }
      if (this.#byteLength < HEADER_BYTES + length) return;
      const bytes = this.#first(HEADER_BYTES + length);
      this.#drop(HEADER_BYTES + length);
      yield {
        type,
        stream: bytes.readUInt32LE(4),
        payload: bytes.subarray(HEADER_BYTES, HEADER_BYTES + length),
      };
    }
  }

  #findStart(): void {
    if (this.#start === undefined) return;
    const bytes = this.#first(this.#byteLength);
    const at = bytes.indexOf(this.#start);
    this.#started = at >= 0;
    // What may be the beginning of it stays.
    const passed = this.#started ? at : Math.max(0, bytes.byteLength - this.#start.byteLength + 1);
    this.#drop(passed);
  }

  /** The first piece, which has at least so many bytes afterwards. */
  #first(byteLength: number): Buffer {
    const [first] = this.#pieces;
    if (first !== undefined && first.byteLength >= byteLength) return first;
    const joined = Buffer.concat(this.#pieces);
    this.#pieces = [joined];
    return joined;
  }

  #drop(byteLength: number): void {
    const rest = this.#first(byteLength).subarray(byteLength);
    this.#byteLength -= byteLength;
    this.#pieces.shift();
    if (rest.byteLength > 0) this.#pieces.unshift(rest);
  }
}

/** Builds the payloads that carry more than bytes. */
export class PayloadWriter {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    this.#parts.push(Buffer.of(value));
    return this;
  }

  u32(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeUInt32LE(value);
    this.#parts.push(bytes);
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    this.u32(bytes.byteLength);
    this.#parts.push(bytes);
    return this;
  }

  list(values: readonly string[]): this {
    this.u32(values.length);
    for (const value of values) this.text(value);
    return this;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Reads such payloads; the guest's counts and lengths are not trusted. */
export class PayloadReader {
  #rest: Buffer;

  constructor(payload: Buffer) {
    this.#rest = payload;
  }

  #take(byteLength: number): Buffer {
    if (this.#rest.byteLength < byteLength)
      throw new FrameError('a frame is too short for its type');
    const taken = this.#rest.subarray(0, byteLength);
    this.#rest = this.#rest.subarray(byteLength);
    return taken;
  }

  u8(): number {
    return this.#take(1).readUInt8();
  }

  u32(): number {
    return this.#take(4).readUInt32LE();
  }

  /** A 64-bit number of bytes; beyond 2^53 it loses its low bits. */
  u64(): number {
    return Number(this.#take(8).readBigUInt64LE());
  }

  text(): string {
    return this.#take(this.u32()).toString();
  }

  /** @throws FrameError if anything is left. */
  end(): void {
    if (this.#rest.byteLength > 0) throw new FrameError('a frame is too long for its type');
  }
}

export function encodeHello(guestName: string): Buffer {
  return new PayloadWriter().text(HELLO_MAGIC).u32(PROTOCOL_VERSION).text(guestName).bytes();
}

export interface AgentHello {
  readonly version: number;
  /** Release of the guest's kernel; empty if the agent has another version of the protocol. */
  readonly kernel: string;
  /** What a former host of the machine started and what still runs. */
  readonly commands: readonly RunningCommand[];
}

export interface RunningCommand {
  readonly stream: number;
  readonly pid: number;
  /** How much of its input the agent holds. */
  readonly pendingInputBytes: number;
}

export function parseHello(payload: Buffer): AgentHello {
  const reader = new PayloadReader(payload);
  if (reader.text() !== HELLO_MAGIC) throw new FrameError('the greeting is not an agent’s');
  const version = reader.u32();
  if (version !== PROTOCOL_VERSION) return { version, kernel: '', commands: [] };
  const kernel = reader.text();
  const commands: RunningCommand[] = [];
  // The count is not trusted: a payload that is too short ends the loop.
  for (let left = reader.u32(); left > 0; left -= 1) {
    commands.push({ stream: reader.u32(), pid: reader.u32(), pendingInputBytes: reader.u32() });
  }
  reader.end();
  return { version, kernel, commands };
}
