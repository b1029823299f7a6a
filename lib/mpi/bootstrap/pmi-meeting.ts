/** A meeting by PMI-1: what a rank brings is put under keys of its own, in pieces that fit into values. */
import { PmiClient, PmiError } from '../../pmi/index.js';
import { MpiError } from '../errors.js';
import type { Meeting } from './meeting.js';

/** Shorter than the values of every launcher, which have 1024 bytes with their end. */
const PIECE_CHARACTERS = 1000;

type Environment = Readonly<Record<string, string | undefined>>;

export class PmiMeeting implements Meeting {
  readonly #client: PmiClient;
  #rounds = 0;

  private constructor(client: PmiClient) {
    this.#client = client;
  }

  /** @throws MpiError `ERR_MPI_LAUNCHER` */
  static async open(env: Environment): Promise<PmiMeeting> {
    return explained(async () => new PmiMeeting(await PmiClient.open(env)));
  }

  get rank(): number {
    return this.#client.rank;
  }

  get size(): number {
    return this.#client.size;
  }

  exchange(mine: Uint8Array): Promise<Uint8Array[]> {
    return explained(() => this.#exchange(mine));
  }

  leave(): Promise<void> {
    return explained(() => this.#client.finalize());
  }

  close(): void {
    this.#client.close();
  }

  async #exchange(mine: Uint8Array): Promise<Uint8Array[]> {
    const client = this.#client;
    const key = (rank: number, piece: number): string =>
      `viaduct-${round}-${rank}${piece === 0 ? '' : `-${piece}`}`;
    const round = this.#rounds++;
    // Values of PMI-1 are printable and without spaces. The first one begins with how many there are.
    const text = Buffer.from(mine).toString('base64url');
    const pieces = Math.max(1, Math.ceil(text.length / PIECE_CHARACTERS));
    for (let piece = 0; piece < pieces; piece++) {
      const part = text.slice(piece * PIECE_CHARACTERS, (piece + 1) * PIECE_CHARACTERS);
      await client.put(key(client.rank, piece), piece === 0 ? `${pieces}.${part}` : part);
    }
    await client.barrier();
    const all: Uint8Array[] = [];
    for (let rank = 0; rank < client.size; rank++) {
      all.push(rank === client.rank ? mine : await this.#read(rank, (piece) => key(rank, piece)));
    }
    return all;
  }

  async #read(rank: number, key: (piece: number) => string): Promise<Uint8Array> {
    const client = this.#client;
    try {
      const [count = '', first = ''] = (await client.get(key(0))).split('.');
      let text = first;
      for (let piece = 1; piece < Number(count); piece++) text += await client.get(key(piece));
      return Buffer.from(text, 'base64url');
    } catch (cause) {
      if (!(cause instanceof PmiError) || cause.code !== 'ERR_PMI_REFUSED') throw cause;
      throw new MpiError(
        'ERR_MPI_LAUNCHER',
        `init: rank ${rank} has not said where it runs; are all ranks programs of this version of viaduct? ` +
          `(${cause.message})`,
        { call: 'init', operands: { rank }, cause },
      );
    }
  }
}

async function explained<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof PmiError)) throw error;
    throw new MpiError('ERR_MPI_LAUNCHER', `init: ${error.message}`, {
      call: 'init',
      operands: error.operands,
      cause: error,
    });
  }
}
