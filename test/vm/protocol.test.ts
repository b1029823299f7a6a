/** The host's codec of the control channel: whole, cut, broken and random bytes. */
import t from 'tap';

import {
  encodeFrame,
  FRAME,
  FrameDecoder,
  FrameError,
  HEADER_BYTES,
  LINE_WINDOW_BYTES,
  MAX_PAYLOAD_BYTES,
  parseHello,
  PayloadReader,
  PayloadWriter,
  PROTOCOL_VERSION,
  type Frame,
} from '../../lib/vm/protocol.js';
import { LineWriter } from '../../lib/vm/line-writer.js';
import { seededRandom } from '../seeded-random.js';

function decodeAll(pieces: readonly Buffer[]): Frame[] {
  const decoder = new FrameDecoder();
  return pieces.flatMap((piece) => [...decoder.decode(piece)]);
}

t.test('frames cut anywhere come out whole and in order', async (t) => {
  const random = seededRandom(t);
  const payloads = Array.from({ length: 50 }, (_, index) =>
    Buffer.alloc(random.below(5000), index),
  );
  const bytes = Buffer.concat(
    payloads.map((payload, index) => encodeFrame(FRAME.output, index, payload)),
  );
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const length = 1 + random.below(3000);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  const frames = decodeAll(pieces);
  t.same(
    frames.map(({ type, stream, payload }) => [type, stream, payload.equals(payloads[stream])]),
    payloads.map((_, index) => [FRAME.output, index, true]),
  );
});

t.test('a broken header is an error, each field by itself', async (t) => {
  const broken = (at: number, value: number): Buffer => {
    const bytes = encodeFrame(FRAME.pong, 0, Buffer.alloc(0));
    bytes.writeUInt8(value, at);
    return bytes;
  };
  const headers = [broken(0, 1), broken(1, 1), broken(2, 0), broken(2, 99), broken(3, 1)];
  for (const bytes of headers) t.throws(() => decodeAll([bytes]), { name: 'FrameError' });
});

t.test('a frame beyond the limit is refused before its payload comes', async (t) => {
  const bytes = encodeFrame(FRAME.output, 0, Buffer.alloc(0));
  bytes.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 8);
  t.throws(() => decodeAll([bytes.subarray(0, HEADER_BYTES)]), { name: 'FrameError' });
});

t.test('random bytes give frames or a FrameError and nothing else', async (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 500; round += 1) {
    const bytes = encodeFrame(FRAME.window, 1, Buffer.alloc(random.below(40)));
    for (let flips = random.below(4); flips > 0; flips -= 1) {
      bytes[random.below(bytes.byteLength)] = random.below(256);
    }
    try {
      for (const { payload } of decodeAll([bytes])) {
        const reader = new PayloadReader(payload);
        reader.text();
        reader.u64();
        reader.end();
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
    }
  }
  t.pass('survived');
});

t.test('a greeting of another version gives the version, of another protocol none', async (t) => {
  const command = { stream: 7, pid: 123, pendingInputBytes: 5 };
  const ours = new PayloadWriter().text('viaduct').u32(PROTOCOL_VERSION).text('6.1');
  const known = ours.u32(1).u32(7).u32(123).u32(5).bytes();
  t.same(parseHello(known), { version: PROTOCOL_VERSION, kernel: '6.1', commands: [command] });
  const newer = new PayloadWriter().text('viaduct').u32(99).u32(1).bytes();
  t.same(parseHello(newer), { version: 99, kernel: '', commands: [] });
  t.throws(() => parseHello(new PayloadWriter().text('aqueduct').u32(1).bytes()), {
    name: 'FrameError',
  });
});

t.test('no more is on the line than its window, and all arrives in order', async (t) => {
  const sent: Buffer[] = [];
  let unread = 0;
  let most = 0;
  const line = new LineWriter(LINE_WINDOW_BYTES, (bytes) => {
    sent.push(bytes);
    unread += bytes.byteLength;
    most = Math.max(most, unread);
  });
  const data = Buffer.from(Array.from({ length: 20_000 }, (_, index) => index % 251));
  for (let at = 0; at < data.byteLength; at += 700) line.write(data.subarray(at, at + 700));
  while (unread > 0) {
    const read = Math.min(unread, 1024);
    unread -= read;
    line.acknowledge(read);
  }
  t.ok(Buffer.concat(sent).equals(data));
  t.equal(most, LINE_WINDOW_BYTES);
  t.throws(() => line.acknowledge(1), { name: 'FrameError' });
});
