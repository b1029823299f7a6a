/**
 * Where the ranks of a job meet by TCP: takes in those that have its secret, collects what they bring to an exchange, and
 * tells all when one is gone. Strangers cost it a line of text and a short while each, and can't be told from ranks that
 * are slow: when many wait to be proven, the one that has waited longest has to go.
 */
import type { Duplex } from 'node:stream';

import { onLines } from '../../../pmi/index.js';
import { GREETING_BYTES, HubProof } from './proof.js';
import { encodeText, LINE_BYTES, LOOKS_UNTIL_SILENT } from './talk.js';

/** Connections that may be unproven at a time. */
const MOST_STRANGERS = 64;
/** For three lines. */
const PROOF_MS = 10_000;

export interface HubOptions {
  readonly secret: string;
  readonly size: number;
  /** In this time all ranks must have come. */
  readonly joinMs: number;
  /** A rank of which nothing is heard for so long has failed. */
  readonly silenceMs: number;
}

interface Member {
  readonly rank: number;
  readonly stream: Duplex;
  /** Looks since it was last heard. */
  looks: number;
  /** Its part of the exchange that is under way. */
  brought: string | undefined;
  hasLeft: boolean;
}

export class Hub {
  readonly #options: HubOptions;
  readonly #strangers = new Set<Duplex>();
  readonly #members = new Map<number, Member>();
  /** Ranks that are gone, with the reason. */
  readonly #failed = new Map<number, string>();
  /** Resolves when nobody needs the hub any longer: all ranks have come, and have left or failed. */
  readonly done: Promise<void>;
  #finish!: () => void;
  readonly #joinTimer: NodeJS.Timeout;
  readonly #lookTimer: NodeJS.Timeout;

  constructor(options: HubOptions) {
    this.#options = options;
    this.done = new Promise((resolve) => (this.#finish = resolve));
    this.#joinTimer = setTimeout(() => this.#missing(), options.joinMs);
    this.#lookTimer = setInterval(() => this.#look(), options.silenceMs / LOOKS_UNTIL_SILENT);
  }

  /** Takes a new connection, from whomever. */
  accept(stream: Duplex): void {
    const { secret } = this.#options;
    const proof = new HubProof(secret);
    const limit = { bytes: GREETING_BYTES };
    let member: Member | undefined;
    const timer = setTimeout(() => stream.destroy(), PROOF_MS);
    this.#strangers.add(stream);
    const [oldest] = this.#strangers;
    if (this.#strangers.size > MOST_STRANGERS) oldest.destroy();
    stream.on('error', () => {});
    stream.on('close', () => {
      clearTimeout(timer);
      this.#strangers.delete(stream);
      if (member !== undefined)
        this.#gone(member, 'has closed its connection to rank 0 without leaving');
    });
    onLines(
      stream,
      (line) => {
        if (member !== undefined) {
          this.#hear(member, line);
          return;
        }
        const who = proof.check(line);
        // Not a word to one that has not the secret.
        if (who === undefined) {
          stream.destroy();
          return;
        }
        const refusal = this.#refusal(who);
        stream.write(`${proof.verdict(refusal)}\n`);
        if (refusal !== undefined) {
          stream.end();
          return;
        }
        clearTimeout(timer);
        this.#strangers.delete(stream);
        limit.bytes = LINE_BYTES;
        member = { rank: who.rank, stream, looks: 0, brought: undefined, hasLeft: false };
        this.#admit(member);
      },
      () => stream.destroy(),
      limit,
    );
    stream.write(`${proof.greeting}\n`);
  }

  /** Lets go of everybody. */
  close(): void {
    clearTimeout(this.#joinTimer);
    clearInterval(this.#lookTimer);
    for (const stream of this.#strangers) stream.destroy();
    for (const { stream } of this.#members.values()) stream.destroy();
  }

  #refusal({ rank, size }: { rank: number; size: number }): string | undefined {
    if (size !== this.#options.size) {
      return `rank 0 was told of ${this.#options.size} ranks, and rank ${rank} of ${size}; give all the same number`;
    }
    if (rank >= size) return `there is no rank ${rank} among ${size}`;
    if (!this.#members.has(rank)) return undefined;
    return `there is a rank ${rank} already; give each process a rank of its own, and each job an address or a secret of its own`;
  }

  #admit(member: Member): void {
    this.#members.set(member.rank, member);
    if (this.#members.size === this.#options.size) clearTimeout(this.#joinTimer);
    for (const [rank, reason] of this.#failed) this.#tell(member, failedLine(rank, reason));
  }

  #hear(member: Member, line: string): void {
    member.looks = 0;
    const [word, value = ''] = line.split(' ');
    switch (word) {
      case 'bring':
        member.brought = value;
        this.#collect();
        return;
      case 'leave':
        member.hasLeft = true;
        this.#tell(member, 'left');
        this.#settle();
        return;
      default:
    }
  }

  #collect(): void {
    const { size } = this.#options;
    const members = [...this.#members.values()];
    if (members.length < size || members.some(({ brought }) => brought === undefined)) return;
    const lines = members.map(({ rank, brought }) => `brought ${rank} ${brought}`).join('\n');
    for (const member of members) {
      member.brought = undefined;
      this.#tell(member, lines);
    }
  }

  #gone(member: Member, reason: string): void {
    if (!member.hasLeft && !this.#failed.has(member.rank)) {
      this.#failed.set(member.rank, reason);
      for (const other of this.#members.values()) {
        if (other !== member) this.#tell(other, failedLine(member.rank, reason));
      }
    }
    this.#settle();
  }

  /** Once in a while: says that this side is there, and looks who is not. */
  #look(): void {
    for (const member of this.#members.values()) {
      if (member.stream.destroyed || this.#failed.has(member.rank)) continue;
      this.#tell(member, 'alive');
      if (++member.looks < LOOKS_UNTIL_SILENT) continue;
      const seconds = this.#options.silenceMs / 1000;
      this.#gone(member, `was not heard of for ${seconds} s: it is stopped, or the network is cut`);
      member.stream.destroy();
    }
  }

  #missing(): void {
    const { size, joinMs } = this.#options;
    const ranks = Array.from({ length: size }, (_, rank) => rank);
    const missing = ranks.filter((rank) => !this.#members.has(rank));
    const text = `rank ${missing.slice(0, 20).join(', ')} of ${size} did not come within ${joinMs / 1000} s`;
    for (const member of this.#members.values()) this.#tell(member, `missing ${encodeText(text)}`);
  }

  #settle(): void {
    if (this.#members.size < this.#options.size) return;
    for (const { rank, hasLeft } of this.#members.values()) {
      if (!hasLeft && !this.#failed.has(rank)) return;
    }
    this.#finish();
  }

  #tell({ stream }: Member, line: string): void {
    if (!stream.destroyed && stream.writable) stream.write(`${line}\n`);
  }
}

const failedLine = (rank: number, reason: string): string => `failed ${rank} ${encodeText(reason)}`;
