/** A rank's connection to the hub of its job. */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { onLines } from '../../../pmi/index.js';
import { GREETING_BYTES, RankProof } from './proof.js';
import { decodeText, LINE_BYTES, LOOKS_UNTIL_SILENT } from './talk.js';

/** Between two attempts, while the hub is not there yet. */
const RETRY_MS = 50;
/** A hub that strangers besiege may push a rank out, too; one with another secret does it each time. */
const MOST_REJECTIONS = 3;
/** For the hub's two lines. */
const PROOF_MS = 10_000;

export interface Hub {
  readonly host: string;
  readonly port: number;
}

export interface LiaisonOptions {
  readonly hub: Hub;
  readonly secret: string;
  readonly rank: number;
  readonly size: number;
  readonly joinMs: number;
  readonly silenceMs: number;
}

/** What the connection tells. */
export interface LiaisonEvents {
  onBrought(values: readonly string[]): void;
  onFailed(rank: number, reason: string): void;
  onLeft(): void;
  /** The job can't begin. */
  onMissing(text: string): void;
  /** The connection is lost, and with it all news of ranks elsewhere. */
  onLost(reason: string): void;
}

/** Why a rank could not join. */
export class LiaisonError extends Error {}

/** One attempt ended without a word of the hub's about the secret. */
class Rejection extends Error {}

export const nameOf = ({ host, port }: Hub): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

export class Liaison {
  readonly #socket: Socket;
  readonly #events: LiaisonEvents;
  readonly #size: number;
  readonly #timer: NodeJS.Timeout;
  #looks = 0;
  #brought: string[] = [];
  #isOver = false;

  private constructor(
    socket: Socket,
    options: LiaisonOptions,
    events: LiaisonEvents,
    setListener: (onLine: (line: string) => void) => void,
  ) {
    this.#socket = socket;
    this.#events = events;
    this.#size = options.size;
    const { silenceMs } = options;
    this.#timer = setInterval(() => {
      socket.write('alive\n');
      if (++this.#looks < LOOKS_UNTIL_SILENT) return;
      this.#lose(`it was silent for ${silenceMs / 1000} s: it is stopped, or the network is cut`);
    }, silenceMs / LOOKS_UNTIL_SILENT);
    setListener((line) => this.#hear(line));
    socket.on('close', () => this.#lose('it has closed the connection'));
  }

  /**
   * Connects as soon as the hub is there, and joins.
   *
   * @throws LiaisonError
   */
  static async join(options: LiaisonOptions, events: LiaisonEvents): Promise<Liaison> {
    const deadline = performance.now() + options.joinMs;
    const name = nameOf(options.hub);
    for (let rejections = 0; ;) {
      try {
        return await Liaison.#attempt(options, events);
      } catch (error) {
        if (error instanceof LiaisonError) throw error;
        if (error instanceof Rejection && ++rejections === MOST_REJECTIONS) {
          throw new LiaisonError(
            `${name} refused rank ${options.rank} (${error.message}); do all ranks have the same VIADUCT_JOB_SECRET?`,
          );
        }
        if (performance.now() > deadline) {
          throw new LiaisonError(
            `rank ${options.rank} did not reach rank 0 at ${name} within ${options.joinMs / 1000} s: ` +
              `${(error as Error).message}; does it run, at that address?`,
          );
        }
      }
      await sleep(RETRY_MS);
    }
  }

  static #attempt(options: LiaisonOptions, events: LiaisonEvents): Promise<Liaison> {
    const { hub, secret, rank, size } = options;
    return new Promise((resolve, reject) => {
      const socket = connect({ ...hub, noDelay: true, keepAlive: true });
      const proof = new RankProof(secret, rank, size);
      const limit = { bytes: GREETING_BYTES };
      let hear: ((line: string) => void) | undefined;
      let isConnected = false;
      let hasAnswered = false;
      const give = (error: Error): void => {
        clearTimeout(timer);
        reject(error);
        if (hear === undefined) socket.destroy();
      };
      const timer = setTimeout(() => give(new Rejection('no answer')), PROOF_MS);
      const noHub = (): LiaisonError =>
        new LiaisonError(
          `what listens at ${nameOf(hub)} is not rank 0 of this job: it does not know the job's secret`,
        );
      socket.on('connect', () => (isConnected = true));
      socket.on('error', (error) => give(isConnected ? new Rejection(error.message) : error));
      socket.on('close', () => give(new Rejection('it closed the connection')));
      onLines(
        socket,
        (line) => {
          if (hear !== undefined) {
            hear(line);
            return;
          }
          if (!hasAnswered) {
            const answer = proof.answer(line);
            hasAnswered = true;
            if (answer === undefined) give(noHub());
            else socket.write(`${answer}\n`);
            return;
          }
          const verdict = proof.check(line);
          if (verdict === undefined) {
            give(noHub());
          } else if (verdict.refusal !== undefined) {
            give(new LiaisonError(verdict.refusal));
          } else {
            clearTimeout(timer);
            limit.bytes = LINE_BYTES;
            resolve(new Liaison(socket, options, events, (onLine) => (hear = onLine)));
          }
        },
        () => (hear === undefined ? give(noHub()) : socket.destroy()),
        limit,
      );
    });
  }

  bring(value: string): void {
    this.#socket.write(`bring ${value}\n`);
  }

  leave(): void {
    this.#socket.write('leave\n');
  }

  close(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#socket.destroy();
  }

  #hear(line: string): void {
    this.#looks = 0;
    const [word, first = '', second = ''] = line.split(' ');
    switch (word) {
      case 'brought':
        this.#brought[Number(first)] = second;
        if (++this.#count < this.#size) return;
        this.#events.onBrought(this.#brought);
        this.#brought = [];
        this.#count = 0;
        return;
      case 'failed':
        this.#events.onFailed(Number(first), decodeText(second));
        return;
      case 'missing':
        this.#events.onMissing(decodeText(first));
        return;
      case 'left':
        this.#events.onLeft();
        return;
      default:
    }
  }

  #count = 0;

  #lose(why: string): void {
    if (this.#isOver) return;
    this.close();
    this.#events.onLost(why);
  }
}
