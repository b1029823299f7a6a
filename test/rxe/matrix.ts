/** Messages of all sizes at each path MTU by IPv4 and IPv6, over the routes that were given before this is loaded. */
import type { Test } from 'tap';

import type { SendOpcode } from 'viaduct/verbs';

import { type SeededRandom, seededRandom } from '../seeded-random.js';
import { facts, overRoutes, type Pair } from '../verbs/traffic/routes.js';
import { GRH_BYTES, type Send, type Service } from '../verbs/traffic/side.js';

const MTUS = [256, 512, 1024, 2048, 4096] as const;
const FAMILIES = ['IPv4', 'IPv6'] as const;
const LARGEST = 4 * 2 ** 20;
/** What no flow control holds back must fit into the network's buffers. */
const LARGEST_UNRELIABLE = 2 ** 16;
const BEYOND_BYTES = 64;

interface Move {
  readonly type: Service;
  readonly opcode: SendOpcode;
  readonly size: number;
}

/** Moves what a seed makes, and looks that it has arrived as it was, and nothing beyond. */
async function move(
  t: Test,
  random: SeededRandom,
  { a, b, ends }: Pair,
  { type, opcode, size }: Move,
): Promise<void> {
  const [from, to] = opcode === 'rdma-read' ? [b, a] : [a, b];
  const header = type === 'UD' ? GRH_BYTES : 0;
  const [seed, before, beyond] = [
    random.below(2 ** 31),
    random.below(2 ** 31),
    random.below(2 ** 31),
  ];
  await from.fillFrom(seed, 0, size);
  await to.fillFrom(before, 0, header + size);
  await to.fillFrom(beyond, header + size, BEYOND_BYTES);
  if (opcode === 'send') await b.receive({ id: 1, sge: { offset: 0, length: header + size } });
  const { address, rkey } = await b.memory();
  const request: Send = {
    id: 2,
    opcode,
    signaled: true,
    sge: { offset: 0, length: size },
    remote: { address, rkey },
    ...(type === 'UD' ? { to: ends.b.receiving } : {}),
  };
  await a.send(request);
  const { status, problem } = await a.next();
  const what = `${opcode} of ${size} bytes`;
  t.equal(status, 'SUCCESS', `${what}: ${problem ?? 'sent'}`);
  if (opcode === 'send') {
    t.match(await b.next(), { id: 1, status: 'SUCCESS', byteLen: header + size });
  } else if (type === 'UC') {
    // Unreliable writes are not acknowledged; what follows on the same connection comes after them.
    await b.receive({ id: 3 });
    await a.send({ opcode: 'send', signaled: true });
    await a.next();
    await b.next();
  }
  t.equal(await to.differsFrom(seed, header, size), -1, `${what} arrived as they were`);
  t.equal(await to.differsFrom(beyond, header + size, BEYOND_BYTES), -1, 'and none beyond');
}

for (const from of FAMILIES) {
  for (const mtu of MTUS) {
    const sizes = [0, 1, mtu - 1, mtu, mtu + 1, 3 * mtu + 5, LARGEST_UNRELIABLE + 3];
    for (const opcode of ['send', 'rdma-write', 'rdma-read'] as const) {
      const options = { from, connect: { mtu }, sizeBytes: LARGEST + BEYOND_BYTES };
      const name = `RC ${opcode} of 0 B to 4 MiB in packets of ${mtu} bytes over ${from}`;
      overRoutes(name, options, async (t, pair) => {
        const random = seededRandom(t);
        for (const size of [...sizes, LARGEST])
          await move(t, random, pair, { type: 'RC', opcode, size });
      });
    }
    for (const opcode of ['send', 'rdma-write'] as const) {
      const sizeBytes = LARGEST_UNRELIABLE + 3 + BEYOND_BYTES;
      const name = `UC ${opcode} of 0 B to 64 KiB in packets of ${mtu} bytes over ${from}`;
      overRoutes(name, { type: 'UC', from, connect: { mtu }, sizeBytes }, async (t, pair) => {
        const random = seededRandom(t);
        for (const size of sizes) await move(t, random, pair, { type: 'UC', opcode, size });
      });
    }
  }
  const most = facts.port.activeMtu;
  const options = { type: 'UD', from, sizeBytes: most + GRH_BYTES + BEYOND_BYTES } as const;
  overRoutes(`UD send of 0 B to ${most} B over ${from}`, options, async (t, pair) => {
    const random = seededRandom(t);
    for (const size of [0, 1, 255, 256, 257, most - 1, most]) {
      await move(t, random, pair, { type: 'UD', opcode: 'send', size });
    }
  });
}
