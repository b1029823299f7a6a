/** The descriptor under a socket of Node.js, which has it without documenting it. */
import type { Socket } from 'node:net';

interface Handle {
  readonly fd?: number;
  readStop?(): number;
}

const handleOf = (socket: Socket): Handle | undefined =>
  (socket as unknown as { _handle?: Handle | null })._handle ?? undefined;

/** @throws when the socket is closed */
export function descriptorOf(socket: Socket): number {
  const descriptor = handleOf(socket)?.fd;
  if (descriptor === undefined || descriptor < 0) throw new Error('the socket is closed');
  return descriptor;
}

/** Reads no further byte: `pause` alone reads on until a buffer is full. Another process reads from here on. */
export function stopReading(socket: Socket): void {
  socket.pause();
  handleOf(socket)?.readStop?.();
}
