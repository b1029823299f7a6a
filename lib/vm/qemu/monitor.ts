/** What a machine's QEMU is told while it runs. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Monitor, SaveResult } from '../drivers/driver.js';
import { QmpClient, QmpError } from './qmp.js';

const POLL_MS = 20;
/** A guest that gives no more of its memory for that long has none left to give. */
const BALLOON_PATIENCE_MS = 2000;
/** Memory goes to a file or another process of this host: QEMU's own limit is meant for networks. */
const BANDWIDTH_BYTES_PER_S = 2 ** 40;
const STATE = 'state';

export class QemuMonitor implements Monitor {
  readonly #qmp: QmpClient;
  readonly #memoryBytes: number;
  readonly #negotiated: Promise<void>;

  constructor(socket: Socket, memoryBytes: number) {
    this.#qmp = new QmpClient(socket);
    this.#memoryBytes = memoryBytes;
    this.#negotiated = this.#qmp.negotiate();
    // Whoever needs the monitor learns it.
    this.#negotiated.catch(() => {});
  }

  async pause(): Promise<void> {
    await this.#negotiated;
    await this.#qmp.execute('stop');
  }

  async resume(): Promise<void> {
    await this.#negotiated;
    await this.#qmp.execute('cont');
  }

  async resizeMemory(sizeBytes: number, signal?: AbortSignal): Promise<number> {
    await this.#negotiated;
    await this.#qmp.execute('balloon', { value: Math.min(sizeBytes, this.#memoryBytes) });
    let last = await this.#actualBytes();
    let changedAt = performance.now();
    while (last !== sizeBytes && performance.now() - changedAt < BALLOON_PATIENCE_MS) {
      await sleep(POLL_MS, undefined, { signal });
      const now = await this.#actualBytes();
      if (now !== last) changedAt = performance.now();
      last = now;
    }
    return last;
  }

  async saveState(descriptor: number, signal?: AbortSignal): Promise<SaveResult> {
    await this.#negotiated;
    const { running } = await this.#qmp.execute('query-status');
    await this.#qmp.execute('migrate-set-parameters', { 'max-bandwidth': BANDWIDTH_BYTES_PER_S });
    await this.#qmp.giveDescriptor(STATE, descriptor);
    await this.#qmp.execute('migrate', { uri: `fd:${STATE}` });
    for (;;) {
      const progress = await this.#qmp.execute('query-migrate');
      const status = String(progress['status']);
      if (status === 'completed') return resultOf(progress);
      if (status === 'failed' || status === 'cancelled') {
        if (running === true) await this.#qmp.execute('cont');
        const reason = progress['error-desc'];
        throw new QmpError('migrate', typeof reason === 'string' ? reason : status);
      }
      if (signal?.aborted === true && status !== 'cancelling') {
        await this.#qmp.execute('migrate_cancel');
      }
      await sleep(POLL_MS);
    }
  }

  async receiveState(): Promise<void> {
    await this.#negotiated;
    for (;;) {
      const { status } = await this.#qmp.execute('query-status');
      if (status !== 'inmigrate') break;
      await sleep(POLL_MS);
    }
    await this.#qmp.execute('cont');
  }

  close(): void {
    this.#qmp.close();
  }

  async #actualBytes(): Promise<number> {
    const { actual } = await this.#qmp.execute('query-balloon');
    return Number(actual);
  }
}

function resultOf(progress: Readonly<Record<string, unknown>>): SaveResult {
  const memory = (progress['ram'] ?? {}) as Readonly<Record<string, unknown>>;
  return {
    downtimeMs: Number(progress['downtime'] ?? 0),
    transferredBytes: Number(memory['transferred'] ?? 0),
  };
}
