/** What lib/aperture takes from the addon (native/addon/aperture.cc), and its failures as errors. */
import { addon } from '../addon/index.js';

declare const mappingHandle: unique symbol;

/** An owned mapping in native code. */
export interface MappingHandle {
  readonly [mappingHandle]: true;
}

declare const heartbeatHandle: unique symbol;

/** A thread in native code that beats. */
export interface HeartbeatHandle {
  readonly [heartbeatHandle]: true;
}

export interface NativeMapping {
  readonly handle: MappingHandle;
  readonly memory: ArrayBuffer;
  readonly descriptor: number;
}

export interface LoopWatch {
  /**
   * Calls back once when the doorbell no longer has the value seen, which it looks at least each `longestSleepMs`;
   * keeps the loop alive until disarmed.
   */
  arm(seen: number, longestSleepMs: number): void;
  disarm(): void;
  close(): void;
}

/** Offsets and lengths are in bytes, addresses are below 2^53, results named errno are 0 on success. */
export interface NativeAperture {
  createAperture(sizeBytes: number): NativeMapping;
  openAperture(path: string): NativeMapping;
  closeAperture(handle: MappingHandle): void;
  startHeartbeat(handle: MappingHandle, wordOffset: number, intervalMs: number): HeartbeatHandle;
  stopHeartbeat(heartbeat: HeartbeatHandle): void;
  mapBlock(handle: MappingHandle, offset: number, length: number): ArrayBuffer;
  detach(buffer: ArrayBuffer): void;
  addressOf(view: Uint8Array): number;
  waitOnWord(memory: ArrayBuffer, offset: number, expected: number, timeoutMs: number): number;
  wakeWord(memory: ArrayBuffer, offset: number, count: number): number;
  readProcess(pid: number, address: number, view: Uint8Array, length: number): number;
  allowReader(pid: number): void;
  yieldProcessor(): void;
  sleepMicroseconds(microseconds: number): void;
  readonly LoopWatch: new (
    handle: MappingHandle,
    wordOffset: number,
    onRing: () => void,
  ) => LoopWatch;
}

/** The errors that native functions throw. */
export interface NativeError extends Error {
  readonly errno: number;
  readonly syscall: string;
}

export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}

export const native = addon() as NativeAperture;
