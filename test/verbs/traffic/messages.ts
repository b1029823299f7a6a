/** Values over a stream of bytes: each as v8 serializes it, after its length. */
import type { Readable, Writable } from 'node:stream';
import { deserialize, serialize } from 'node:v8';

const LENGTH_BYTES = 4;

export function sendValue(stream: Writable, value: unknown): void {
  const body = serialize(value);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(body.byteLength);
  stream.write(Buffer.concat([length, body]));
}

/** Calls back with each value that comes. */
export function receiveValues(stream: Readable, onValue: (value: unknown) => void): void {
  let chunks: Buffer[] = [];
  let gatheredBytes = 0;
  let wantedBytes = LENGTH_BYTES;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    gatheredBytes += chunk.byteLength;
    // Large values come in many chunks, which are put together once.
    if (gatheredBytes < wantedBytes) return;
    let bytes = Buffer.concat(chunks);
    wantedBytes = LENGTH_BYTES;
    while (bytes.byteLength >= LENGTH_BYTES) {
      wantedBytes = LENGTH_BYTES + bytes.readUInt32LE();
      if (bytes.byteLength < wantedBytes) break;
      onValue(deserialize(bytes.subarray(LENGTH_BYTES, wantedBytes)));
      bytes = bytes.subarray(wantedBytes);
      wantedBytes = LENGTH_BYTES;
    }
    chunks = [bytes];
    gatheredBytes = bytes.byteLength;
  });
}
