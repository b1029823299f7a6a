/**
 * How a rank and the hub of its job prove to each other that both have the job's secret, in three lines:
 *
 *     hub:   viaduct-hub 1 CHALLENGE
 *     rank:  rank R of N CHALLENGE PROOF
 *     hub:   welcome PROOF            or: refused REASON PROOF
 *
 * Challenges are 256 random bits, new for each connection, so that nothing that was overheard serves again. A proof is
 * HMAC-SHA-256 of the secret over who proves, both challenges and all that the line says, so that neither side's serves as
 * the other's. The rank's is the first that is sent: a stranger gets none. What follows is neither encrypted nor signed:
 * the secret keeps strangers out, not those who can change what is on the way.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Longer than any line before both are proven. */
export const GREETING_BYTES = 512;

const CHALLENGE = /^viaduct-hub 1 ([\w-]{43})$/;
const ANSWER = /^rank (\d{1,6}) of (\d{1,6}) ([\w-]{43}) ([\w-]{43})$/;
const VERDICT = /^(welcome|refused [\w-]{0,300}) ([\w-]{43})$/;

const newChallenge = (): string => randomBytes(32).toString('base64url');

function prove(secret: string, ...said: readonly string[]): string {
  return createHmac('sha256', secret).update(said.join('\n')).digest('base64url');
}

function isProof(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** The hub's side of one connection. */
export class HubProof {
  readonly #secret: string;
  readonly #challenge = newChallenge();
  #theirs = '';

  constructor(secret: string) {
    this.#secret = secret;
  }

  /** What the hub says first. */
  get greeting(): string {
    return `viaduct-hub 1 ${this.#challenge}`;
  }

  /** Who answers; undefined for one who has not the secret. */
  check(line: string): { rank: number; size: number } | undefined {
    const [, rank, size, challenge, proof] = ANSWER.exec(line) ?? [];
    if (proof === undefined) return undefined;
    if (!isProof(proof, prove(this.#secret, 'rank', this.#challenge, challenge, rank, size))) {
      return undefined;
    }
    this.#theirs = challenge;
    return { rank: Number(rank), size: Number(size) };
  }

  /** What one who has the secret is told, with the reason of a refusal. */
  verdict(refusal?: string): string {
    const reason = Buffer.from((refusal ?? '').slice(0, 200)).toString('base64url');
    const said = refusal === undefined ? 'welcome' : `refused ${reason}`;
    return `${said} ${prove(this.#secret, 'hub', this.#challenge, this.#theirs, said)}`;
  }
}

/** The rank's side of one connection. */
export class RankProof {
  readonly #secret: string;
  readonly #rank: string;
  readonly #size: string;
  readonly #challenge = newChallenge();
  #theirs = '';

  constructor(secret: string, rank: number, size: number) {
    this.#secret = secret;
    this.#rank = String(rank);
    this.#size = String(size);
  }

  /** What the rank answers to the greeting; undefined to one that is no hub. */
  answer(greeting: string): string | undefined {
    const challenge = CHALLENGE.exec(greeting)?.[1];
    if (challenge === undefined) return undefined;
    this.#theirs = challenge;
    const proof = prove(this.#secret, 'rank', challenge, this.#challenge, this.#rank, this.#size);
    return `rank ${this.#rank} of ${this.#size} ${this.#challenge} ${proof}`;
  }

  /** What the hub has decided; undefined from one that has not the secret. */
  check(line: string): { refusal: string | undefined } | undefined {
    const [, said, proof] = VERDICT.exec(line) ?? [];
    if (proof === undefined || this.#theirs === '') return undefined;
    if (!isProof(proof, prove(this.#secret, 'hub', this.#theirs, this.#challenge, said))) {
      return undefined;
    }
    if (said === 'welcome') return { refusal: undefined };
    return { refusal: Buffer.from(said.slice('refused '.length), 'base64url').toString() };
  }
}
