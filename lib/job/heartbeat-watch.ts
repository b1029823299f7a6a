/** Finds ranks that still are there but can't run: stopped by a signal, or in a machine that hangs. */
import { readFileSync } from 'node:fs';

import { kernelId } from '../aperture/kernel.js';
import type { Participants } from '../aperture/index.js';

/**
 * Looks without a beat, after which a rank is silent. Looks are counted, not time: when this process was itself stopped, or the
 * whole host, time has passed that says nothing of the ranks.
 */
const LOOKS_UNTIL_SILENT = 5;

/** Calls back once for each rank that has joined and beats no more. */
export class HeartbeatWatch {
  readonly #participants: Participants;
  readonly #onSilent: (rank: number, reason: string) => void;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #seen = new Map<number, { beats: number; looks: number }>();

  constructor(
    participants: Participants,
    options: {
      readonly size: number;
      readonly timeoutMs: number;
      readonly onSilent: (rank: number, reason: string) => void;
    },
  ) {
    this.#participants = participants;
    this.#timeoutMs = options.timeoutMs;
    this.#onSilent = options.onSilent;
    const look = (): void => {
      for (let rank = 0; rank < options.size; rank++) this.#look(rank);
    };
    this.#timer = setInterval(look, Math.ceil(options.timeoutMs / LOOKS_UNTIL_SILENT)).unref();
  }

  /** Looks no more. */
  close(): void {
    clearInterval(this.#timer);
  }

  #look(rank: number): void {
    const participants = this.#participants;
    if (participants.state(rank) !== 'attached') return;
    const beats = participants.heartbeats(rank);
    const seen = this.#seen.get(rank);
    if (seen === undefined || seen.beats !== beats) {
      this.#seen.set(rank, { beats, looks: 0 });
      return;
    }
    if (++seen.looks !== LOOKS_UNTIL_SILENT) return;
    this.#onSilent(
      rank,
      `has given no sign of life for ${this.#timeoutMs / 1000} s${this.#cause(rank)}`,
    );
  }

  #cause(rank: number): string {
    const { pid, kernelId: kernel } = this.#participants.describe(rank);
    if (kernel !== kernelId()) return ': its virtual machine is stopped or hangs';
    try {
      const state = /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      if (state === 'T') return ': it was stopped by a signal (SIGCONT continues it)';
      if (state === 't') return ': a debugger has stopped it';
    } catch {
      // It has ended meanwhile, which is told by itself.
    }
    return '';
  }
}
