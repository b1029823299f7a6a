/**
 * What ranks tell each other about failures: that a communicator is revoked, and the messages of agreements. It travels as
 * messages of a context of its own, for which nobody posts receives: it is handled as it comes, whatever the rank waits for.
 */
import { NOTICES } from '../constants.js';
import { bytesAsWords, wordsAsMemory } from '../collective.js';
import type { Engine } from '../engine.js';
import { revoked } from '../errors.js';
import type { UnexpectedMessage } from '../matching.js';
import { NO_MEMORY } from '../memory.js';
import { RECEIVE, Request, type RequestScope, SEND } from '../request.js';
import type { Scope } from '../scope.js';
import { Agreement, type Value } from './agreement.js';

const REVOKE = 0;
const AGREE = 1;

/** What came before this rank had begun; from a rank of the world. */
interface Early {
  readonly number: number;
  readonly from: number;
  readonly words: Int32Array;
}

/** Agreements of one communicator: all its ranks begin them in one order. */
interface Agreements {
  /** How many this rank has begun. */
  begun: number;
  current: Agreement | undefined;
  /** Of those that this rank has not begun yet. */
  early: Early[];
}

export class Notices {
  readonly #engine: Engine;
  readonly #scope: RequestScope;
  readonly #scopes = new Map<number, WeakRef<Scope>>();
  /** Contexts of communicators that are revoked, of this rank or not known to it yet. */
  readonly #revoked = new Set<number>();
  readonly #agreements = new Map<number, Agreements>();
  /** Which communicator's agreements run, for news of deaths. */
  readonly #running = new Map<Agreement, Scope>();
  /** Whether this rank has said that it goes on without those who failed. */
  goesOn = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#scope = {
      owner: engine,
      name: 'notices',
      rankOf: (worldRank) => worldRank,
      isAcknowledged: () => true,
      raise: () => undefined,
    };
  }

  /** A communicator is there, and may be revoked from now on. */
  register(scope: Scope): void {
    this.#scopes.set(scope.context, new WeakRef(scope));
    if (this.#revoked.has(scope.context)) this.#end(scope);
  }

  revoke(scope: Scope): void {
    this.goesOn = true;
    this.#revoke(scope.context, scope);
  }

  /**
   * Begins this rank's part in the next agreement of a communicator; the request is done when it has ended, after
   * `onDecision`.
   */
  agree(scope: Scope, flags: number, context: number, onDecision: (value: Value) => void): Request {
    this.goesOn = true;
    const request = new Request(scope);
    request.kind = RECEIVE;
    request.context = NOTICES;
    // The engine must not take it for a message of this rank to itself.
    request.peer = -1;
    this.#engine.checkFailures();
    const agreements = this.#agreementsOf(scope.context);
    const number = ++agreements.begun;
    const early = agreements.early.filter((said) => said.number === number);
    agreements.early = agreements.early.filter((said) => said.number > number);
    const dead = new Set(scope.failedRanks());
    const { worldRanks } = scope.members;
    const agreement = new Agreement({
      members: scope.members.size,
      self: scope.rank,
      contribution: { flags, context, dead, acknowledged: new Set(scope.acknowledged) },
      send: (to, words) => {
        this.#send(worldRanks[to], Int32Array.of(AGREE, scope.context, number, ...words));
      },
      onDecision: (value) => {
        agreements.current = undefined;
        onDecision(value);
        request.complete();
      },
    });
    if (request.done) return request;
    agreements.current = agreement;
    this.#running.set(agreement, scope);
    request.observe(() => this.#running.delete(agreement));
    for (const { from, words } of early) agreement.receive(scope.rankOf(from), words);
    return request;
  }

  /** A rank of the world is dead, and nothing comes of it any more. */
  died(worldRank: number): void {
    for (const [agreement, scope] of [...this.#running]) {
      const member = scope.rankOf(worldRank);
      if (member >= 0) agreement.died(member);
    }
  }

  /** Takes a notice that has come. */
  take(message: UnexpectedMessage): void {
    const request = new Request(this.#scope);
    request.kind = RECEIVE;
    request.context = NOTICES;
    request.peer = message.source;
    request.tag = message.tag;
    request.memory = NO_MEMORY;
    request.isOfAnySize = true;
    request.observe(() => {
      if (request.error === undefined)
        this.#hear(message.source, bytesAsWords(request.memory.bytes));
    });
    this.#engine.incoming.unexpected.remove(message);
    message.delivery.deliver(message, request);
  }

  #hear(source: number, words: Int32Array): void {
    const [kind, context, number] = words;
    const scope = this.#scopes.get(context)?.deref();
    if (kind === REVOKE) {
      this.#revoke(context, scope);
      return;
    }
    const agreements = this.#agreementsOf(context);
    const said = words.subarray(3);
    if (number > agreements.begun) {
      // The communicator need not be there yet.
      agreements.early.push({ number, from: source, words: said });
    } else if (number === agreements.begun && scope !== undefined) {
      agreements.current?.receive(scope.rankOf(source), said);
    }
  }

  #revoke(context: number, scope: Scope | undefined): void {
    if (this.#revoked.has(context)) return;
    this.#revoked.add(context);
    if (scope === undefined) return;
    this.#end(scope);
  }

  /** Who learns of a revocation tells all others, for who revoked may be dead by now. */
  #end(scope: Scope): void {
    for (const worldRank of scope.members.worldRanks) {
      if (worldRank !== this.#engine.rank)
        this.#send(worldRank, Int32Array.of(REVOKE, scope.context));
    }
    scope.revoked();
    this.#engine.endOperations(scope, (request) => revoked(request.describe(), scope.name));
  }

  #agreementsOf(context: number): Agreements {
    let agreements = this.#agreements.get(context);
    if (agreements === undefined) {
      agreements = { begun: 0, current: undefined, early: [] };
      this.#agreements.set(context, agreements);
    }
    return agreements;
  }

  #send(worldRank: number, words: Int32Array): void {
    const memory = wordsAsMemory(words);
    if (this.#engine.peer(worldRank).trySend(NOTICES, 0, memory)) return;
    const request = new Request(this.#scope);
    request.kind = SEND;
    request.context = NOTICES;
    request.peer = worldRank;
    request.memory = memory;
    this.#engine.startSend(request);
  }
}
