/** Every opcode on every service that has it, gathered, scattered and inline, by both ways of posting. */
import type { SendOpcode } from 'viaduct/verbs';

import { seededRandom } from '../../seeded-random.js';
import { type Feature, FEATURES, overRoutes, type Pair } from './routes.js';
import { GRH_BYTES, type Send, type Service } from './side.js';

const SENDS = ['send', 'send-with-imm'] as const;
const WRITES = ['rdma-write', 'rdma-write-with-imm'] as const;
const RELIABLE: readonly SendOpcode[] = [
  ...SENDS,
  'send-with-invalidate',
  ...WRITES,
  'rdma-read',
  'compare-swap',
  'fetch-add',
];

interface Subject {
  readonly type: Service;
  readonly srq?: boolean;
  readonly opcodes: readonly SendOpcode[];
}

const SUBJECTS: readonly Subject[] = [
  { type: 'RC', opcodes: RELIABLE },
  { type: 'RC', opcodes: ['atomic-write'] },
  { type: 'RC', srq: true, opcodes: [...SENDS, 'send-with-invalidate', 'rdma-write-with-imm'] },
  { type: 'UC', opcodes: [...SENDS, ...WRITES] },
  { type: 'UD', opcodes: SENDS },
  { type: 'UD', srq: true, opcodes: SENDS },
  // A window belongs to one queue pair, and a target can bind none.
  { type: 'XRC', opcodes: RELIABLE.filter((each) => each !== 'send-with-invalidate') },
];

type Form = 'one piece' | 'three pieces' | 'inline';

interface Shape extends Subject {
  readonly opcode: SendOpcode;
  readonly form: Form;
  readonly newer: boolean;
}

const isAtomic = (opcode: SendOpcode): boolean =>
  opcode === 'compare-swap' || opcode === 'fetch-add';
const isOfEightBytes = (opcode: SendOpcode): boolean =>
  isAtomic(opcode) || opcode === 'atomic-write';
const takesReceive = (opcode: SendOpcode): boolean =>
  opcode.startsWith('send') || opcode === 'rdma-write-with-imm';
const carriesImmediate = (opcode: SendOpcode): boolean => opcode.endsWith('-with-imm');
const writes = (opcode: SendOpcode): boolean => opcode.startsWith('rdma-write');

function formsOf(opcode: SendOpcode): readonly Form[] {
  if (isOfEightBytes(opcode)) return ['one piece'];
  if (opcode === 'rdma-read') return ['one piece', 'three pieces'];
  return ['one piece', 'three pieces', 'inline'];
}

/** Where request `i` finds its bytes here; their order is not that of memory. */
function piecesOf(form: Form, i: number, length: number): { offset: number; length: number }[] {
  const base = 1024 * i;
  if (form !== 'three pieces') return [{ offset: base, length }];
  return [
    { offset: base + 700, length: 200 },
    { offset: base, length: 1 },
    { offset: base + 64, length: length - 201 },
  ];
}

/** Where request `i` meets the other side's memory. */
const theirOffset = (i: number): number => 4096 + 1024 * i;

const IMMEDIATE = 0xdecafbad;
const ADDEND = 0x1_0000_0003n;
const SWAP = 0x0123_4567_89ab_cdefn;

const at = (bytes: Uint8Array, offset: number): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset + offset, 8);

/** What both sides' memory must hold in the end: all bytes of it, so that a stray write shows. */
class Expected {
  constructor(
    readonly a: Uint8Array,
    readonly b: Uint8Array,
  ) {}

  /** Atomics are big endian nowhere but on the wire. */
  apply({ type, opcode, form }: Shape, i: number, length: number): void {
    const theirs = theirOffset(i);
    if (isAtomic(opcode)) {
      const old = at(this.b, theirs).getBigUint64(0, true);
      const now = opcode === 'fetch-add' ? BigInt.asUintN(64, old + ADDEND) : i === 1 ? SWAP : old;
      at(this.b, theirs).setBigUint64(0, now, true);
      at(this.a, 1024 * i).setBigUint64(0, old, true);
      return;
    }
    let there = theirs + (type === 'UD' ? GRH_BYTES : 0);
    for (const { offset, length: bytes } of piecesOf(form, i, length)) {
      if (opcode === 'rdma-read') this.a.set(this.b.subarray(there, there + bytes), offset);
      else this.b.set(this.a.subarray(offset, offset + bytes), there);
      there += bytes;
    }
  }
}

/** Keys for the peer to invalidate: type 2 windows over all of b's memory. */
async function bindWindows({ b }: Pair): Promise<number[]> {
  const keys: number[] = [];
  for (let i = 0; i < 2; i++) {
    const { window } = await b.addWindow(2);
    const { byteLength } = await b.memory();
    const bind = { window, offset: 0, length: byteLength, access: ['remote-write'] } as const;
    await b.send({ opcode: 'bind-mw', bind, signaled: true });
    const { status } = await b.next();
    if (status !== 'SUCCESS') throw new Error(`binding a window ended with ${status}`);
    keys.push(await b.windowKey(window));
  }
  return keys;
}

function needsOf({ opcode, form, newer }: Shape): Feature[] {
  const needs: Feature[] = [];
  if (isAtomic(opcode)) needs.push('atomics');
  if (opcode === 'atomic-write') needs.push('atomic writes');
  if (opcode === 'send-with-invalidate') {
    needs.push('memory management extensions', 'windows', 'type 2 windows');
  }
  if (newer && form === 'three pieces') needs.push('several pieces by ibv_wr_*');
  return needs;
}

function nameOf({ type, srq, opcode, form, newer }: Shape): string {
  const queue = srq === true ? ' with a shared receive queue' : '';
  return `${type}${queue}: ${opcode} of ${form} by ${newer ? 'ibv_wr_*' : 'ibv_post_send'}`;
}

function test(shape: Shape): void {
  const { type, srq = false, opcode, form, newer, opcodes } = shape;
  const needs = needsOf(shape);
  // Who invalidates needs windows, which the same way of posting has to bind.
  const sendOps: readonly SendOpcode[] =
    opcode === 'send-with-invalidate' ? [...opcodes, 'bind-mw'] : opcodes;
  const options = {
    ...{ type, srq, needs },
    maxInlineBytes: form === 'inline' ? 200 : 0,
    ...(newer ? { sendOps, extended: FEATURES.timestamps } : {}),
  };
  overRoutes(nameOf(shape), options, async (t, pair) => {
    const { a, b, ends } = pair;
    const random = seededRandom(t);
    const filling = (length: number): Uint8Array =>
      Uint8Array.from({ length }, () => random.below(256));
    const length = isOfEightBytes(opcode) ? 8 : form === 'inline' ? 200 : 650;
    const expected = new Expected(new Uint8Array(8192), new Uint8Array(8192));
    expected.a.set(filling(8192));
    expected.b.set(filling(8192));
    await a.fill(0, expected.a);
    await b.fill(0, expected.b);
    const { address, rkey } = await b.memory();
    const windows = opcode === 'send-with-invalidate' ? await bindWindows(pair) : [];
    if (takesReceive(opcode)) {
      await b.receive(
        [0, 1].map((i) => ({ id: 20 + i, sge: { offset: theirOffset(i), length: 1000 } })),
      );
    }
    const request = (i: number): Send => ({
      id: 2 ** 40 + i,
      opcode,
      // The first completes silently.
      signaled: i === 1,
      ...(form === 'inline'
        ? { inline: expected.a.slice(1024 * i, 1024 * i + length) }
        : { sge: piecesOf(form, i, length) }),
      remote: { address: address + BigInt(theirOffset(i)), rkey },
      immediate: IMMEDIATE + i,
      // The first does not match, the second does.
      compare: i === 1 ? at(expected.b, theirOffset(1)).getBigUint64(0, true) : 1n,
      swap: SWAP,
      add: ADDEND,
      ...(windows[i] === undefined ? {} : { invalidateRkey: windows[i] }),
      ...(type === 'UD' ? { to: ends.b.receiving } : {}),
      ...(type === 'XRC' ? { remoteSrqn: ends.b.srqNum } : {}),
    });
    const both = [request(0), request(1)];
    await a.send(both);
    const sent = await a.next();
    t.match(sent, { status: 'SUCCESS', id: 2 ** 40 + 1, qpNum: ends.a.sending.qpn });
    for (let i = 0; takesReceive(opcode) && i < 2; i++) {
      const received = await b.next();
      t.match(received, {
        status: 'SUCCESS',
        id: 20 + i,
        opcode: writes(opcode) ? 'recv-rdma-with-imm' : 'recv',
        qpNum: ends.b.receiving.qpn,
      });
      const header = type === 'UD' ? GRH_BYTES : 0;
      if (!writes(opcode)) t.equal(received.byteLen, length + header);
      t.equal(received.immediate, carriesImmediate(opcode) ? IMMEDIATE + i : undefined);
      if (FEATURES['invalidated keys in completions']) {
        t.equal(received.invalidatedRkey, windows[i]);
      }
      if (type === 'UD') t.equal(received.srcQp, ends.a.sending.qpn);
    }
    if (type === 'UC' && opcode === 'rdma-write') {
      // Not acknowledged; what follows on the same connection comes after it.
      await b.receive({ id: 30 });
      await a.send({ opcode: 'send', signaled: true });
      await a.next();
      await b.next();
    }
    for (let i = 0; i < 2; i++) expected.apply(shape, i, length);
    const now = { a: await a.read(0, 8192), b: await b.read(0, 8192) };
    // What the header of a datagram holds is the network's matter (InfiniBand Vol. 1, 11.4.1.2).
    for (let i = 0; type === 'UD' && i < 2; i++) {
      const header = theirOffset(i);
      expected.b.set(now.b.subarray(header, header + GRH_BYTES), header);
    }
    t.ok(Buffer.from(now.a).equals(Buffer.from(expected.a)), "a's memory is as it must be");
    t.ok(Buffer.from(now.b).equals(Buffer.from(expected.b)), "b's memory is as it must be");
    t.same([...(await a.poll()), ...(await b.poll())], [], 'nothing else completed');
  });
}

for (const subject of SUBJECTS) {
  for (const opcode of subject.opcodes) {
    for (const form of formsOf(opcode)) {
      // ibv_wr_atomic_write has no place in the table of functions of older libraries.
      const ways = opcode === 'atomic-write' ? [false] : [false, true];
      for (const newer of ways) test({ ...subject, opcode, form, newer });
    }
  }
}
