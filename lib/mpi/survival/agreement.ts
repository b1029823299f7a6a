/**
 * How ranks agree on one value although some of them die meanwhile: one rank's part in one agreement, as a state machine
 * without a clock and without a network. Messages and deaths come in, messages and the decision go out.
 *
 * Members are numbered. The coordinator of a rank is the lowest member that it does not know to be dead.
 *
 * 1. Each rank sends its coordinator what it contributes, and the last proposal that it has accepted, if any.
 * 2. A coordinator waits until every other member has contributed or is dead. It proposes to all the latest proposal that it
 *    was told of, by the number of the coordinator who made it; without one, all contributions taken together.
 * 3. A rank accepts a proposal unless it knows of its maker's death, and says so to the maker.
 * 4. When every member has accepted or is dead, the coordinator decides, and tells all.
 * 5. Who is told of the decision tells all others, and decides.
 *
 * What it rests on: messages of one rank to another arrive in order, and none after the news of its death, though some that it
 * sent last may be lost then; a rank that is told to be dead is; each death is told to every rank in the end.
 *
 * Nobody decides differently, those who die later included. Let c be the lowest coordinator who decides by step 4, for v. Each
 * member that was not dead then had accepted v from c, before it could know of c's death. A coordinator d > c proposes
 * only after it knows of c's death, and so do all who contribute to d: each of these had, by then, accepted v of c or a
 * later proposal, which by induction over coordinators was v. So the latest proposal that d is told of is v, and d proposes
 * v. Whoever decides by step 5 repeats a decision of step 4.
 *
 * Everybody who lives decides. A wait ends by a message of a rank that lives, or by the news of its death; a rank that has
 * decided and takes part no more has told all others first, or has died. After at most as many coordinators as there are
 * members one lives on.
 *
 * Without deaths it takes three hops and 4 (n − 1) messages of which somebody waits, and step 5's, of which nobody does.
 */

/** What members contribute and agree on; sets are of members. */
export interface Value {
  /** Those of all contributions, by bitwise and. */
  readonly flags: number;
  /** The coordinator's number for a new communicator. */
  readonly context: number;
  /** Whose contributions are in it. */
  readonly contributors: ReadonlySet<number>;
  /** Whom any of these knew to be dead. */
  readonly dead: ReadonlySet<number>;
  /** Whose deaths all of these had acknowledged. */
  readonly acknowledged: ReadonlySet<number>;
}

const CONTRIBUTE = 0;
const PROPOSE = 1;
const ACCEPT = 2;
const DECIDE = 3;

export interface AgreementOptions {
  readonly members: number;
  readonly self: number;
  readonly contribution: Omit<Value, 'contributors'>;
  readonly send: (to: number, words: Int32Array) => void;
  readonly onDecision: (value: Value) => void;
}

interface Proposal {
  readonly maker: number;
  readonly value: Value;
}

export class Agreement {
  readonly #options: AgreementOptions;
  readonly #mine: Value;
  readonly #dead: Set<number>;
  readonly #contributions = new Map<number, { value: Value; accepted: Proposal | undefined }>();
  readonly #acceptors = new Set<number>();
  #coordinator = -1;
  #accepted: Proposal | undefined;
  #hasProposed = false;
  #isDecided = false;

  /** Begins with the deaths that are in the contribution. */
  constructor(options: AgreementOptions) {
    this.#options = options;
    const { contribution, self } = options;
    this.#mine = { ...contribution, contributors: new Set([self]) };
    this.#dead = new Set(contribution.dead);
    this.#turnToCoordinator();
  }

  died(member: number): void {
    if (this.#isDecided || this.#dead.has(member)) return;
    this.#dead.add(member);
    this.#turnToCoordinator();
  }

  receive(from: number, words: Int32Array): void {
    if (this.#isDecided) return;
    const [kind, maker] = words;
    const { members } = this.#options;
    const value = (start: number): Value => decodeValue(words.subarray(start), members);
    switch (kind) {
      case CONTRIBUTE: {
        const accepted =
          maker < 0 ? undefined : { maker, value: value(HEAD_WORDS + valueWords(members)) };
        this.#contributions.set(from, { value: value(HEAD_WORDS), accepted });
        break;
      }
      case PROPOSE:
        if (maker < this.#coordinator) return;
        this.#accepted = { maker, value: value(HEAD_WORDS) };
        this.#options.send(maker, Int32Array.of(ACCEPT, maker));
        return;
      case ACCEPT:
        this.#acceptors.add(from);
        break;
      case DECIDE:
        this.#decide(value(HEAD_WORDS));
        return;
      default:
        return;
    }
    this.#coordinate();
  }

  #turnToCoordinator(): void {
    const { members, self, send } = this.#options;
    let lowest = 0;
    while (lowest < members && this.#dead.has(lowest)) lowest++;
    if (lowest !== this.#coordinator) {
      this.#coordinator = lowest;
      const contribution = { value: this.#mine, accepted: this.#accepted };
      if (lowest === self) this.#contributions.set(self, contribution);
      else send(lowest, encodeContribution(contribution, members));
    }
    this.#coordinate();
  }

  /** Goes on as coordinator, when nobody is waited for any longer. */
  #coordinate(): void {
    const { members, self, send } = this.#options;
    if (this.#coordinator !== self || this.#isDecided) return;
    if (!this.#hasProposed) {
      if (!this.#isHeardOfAll(this.#contributions)) return;
      this.#hasProposed = true;
      const value = this.#choose();
      this.#accepted = { maker: self, value };
      this.#acceptors.add(self);
      for (const member of this.#others()) {
        send(member, encode(PROPOSE, self, value, members));
      }
    }
    if (this.#isHeardOfAll(this.#acceptors)) this.#decide(this.#accepted!.value);
  }

  #choose(): Value {
    const contributions = [...this.#contributions.values()];
    let latest: Proposal | undefined;
    for (const { accepted } of contributions) {
      if (accepted !== undefined && accepted.maker > (latest?.maker ?? -1)) latest = accepted;
    }
    if (latest !== undefined) return latest.value;
    const values = contributions.map(({ value }) => value);
    return {
      flags: values.reduce((flags, value) => flags & value.flags, -1),
      context: this.#mine.context,
      contributors: new Set(this.#contributions.keys()),
      dead: new Set(values.flatMap(({ dead }) => [...dead])),
      acknowledged: new Set(
        [...this.#mine.acknowledged].filter((member) =>
          values.every(({ acknowledged }) => acknowledged.has(member)),
        ),
      ),
    };
  }

  #decide(value: Value): void {
    this.#isDecided = true;
    const { members, self, send, onDecision } = this.#options;
    for (const member of this.#others()) send(member, encode(DECIDE, self, value, members));
    onDecision(value);
  }

  #others(): number[] {
    const { members, self } = this.#options;
    const all = Array.from({ length: members }, (_, member) => member);
    return all.filter((member) => member !== self && !this.#dead.has(member));
  }

  #isHeardOfAll(heard: { has(member: number): boolean }): boolean {
    return this.#others().every((member) => heard.has(member));
  }
}

/** Kind, and the maker of a proposal. */
const HEAD_WORDS = 2;
const setWords = (members: number): number => Math.ceil(members / 32);
const valueWords = (members: number): number => 2 + 3 * setWords(members);

function encode(kind: number, maker: number, value: Value, members: number): Int32Array {
  const words = new Int32Array(HEAD_WORDS + valueWords(members));
  words[0] = kind;
  words[1] = maker;
  encodeValue(value, words.subarray(HEAD_WORDS), members);
  return words;
}

function encodeContribution(
  { value, accepted }: { value: Value; accepted: Proposal | undefined },
  members: number,
): Int32Array {
  const first = encode(CONTRIBUTE, accepted?.maker ?? -1, value, members);
  if (accepted === undefined) return first;
  const words = new Int32Array(first.length + valueWords(members));
  words.set(first);
  encodeValue(accepted.value, words.subarray(first.length), members);
  return words;
}

function encodeValue(value: Value, words: Int32Array, members: number): void {
  const length = setWords(members);
  words[0] = value.flags;
  words[1] = value.context;
  [value.contributors, value.dead, value.acknowledged].forEach((set, k) => {
    for (const member of set) words[2 + k * length + (member >> 5)] |= 1 << (member & 31);
  });
}

function decodeValue(words: Int32Array, members: number): Value {
  const length = setWords(members);
  const set = (k: number): Set<number> => {
    const found = new Set<number>();
    for (let member = 0; member < members; member++) {
      if ((words[2 + k * length + (member >> 5)] & (1 << (member & 31))) !== 0) found.add(member);
    }
    return found;
  };
  const [flags, context] = words;
  return { flags, context, contributors: set(0), dead: set(1), acknowledged: set(2) };
}
