/** Finds ranks of this host that died, where no launcher marks them in the aperture's table. */
import type { Participants } from '../../aperture/index.js';

/** So long may a death go unnoticed by those who wait; looking costs a read of /proc for each rank. */
const INTERVAL_MS = 500;

export class PeerWatch {
  readonly #participants: Participants;
  readonly #size: number;
  /** For who awaits: the loop sleeps on the doorbell, which a mark rings. */
  readonly #timer = setInterval(() => this.look(), INTERVAL_MS).unref();
  #lookedAt = performance.now();

  constructor(participants: Participants, size: number) {
    this.#participants = participants;
    this.#size = size;
  }

  /** Marks those that have died since the last look as failed; cheap when called more often than that. */
  look(): void {
    const now = performance.now();
    if (now - this.#lookedAt < INTERVAL_MS / 2) return;
    this.#lookedAt = now;
    const participants = this.#participants;
    for (let rank = 0; rank < this.#size; rank++) {
      if (participants.state(rank) !== 'attached' || participants.isAlive(rank)) continue;
      // Between the two looks it may have taken its leave, which `fail` respects.
      participants.fail(rank, 'its process ended without finalizing');
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
