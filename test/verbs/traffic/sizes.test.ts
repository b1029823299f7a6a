/** Messages of no bytes, around the MTU, and large, over every service that carries them. */
import type { Test } from 'tap';

import type { SendOpcode } from 'viaduct/verbs';

import { seededRandom } from '../../seeded-random.js';
import { facts, overRoutes, type Pair } from './routes.js';
import { GRH_BYTES, type Send, type Service } from './side.js';

const { activeMtu } = facts.port;
const AROUND_MTU = [activeMtu - 1, activeMtu, activeMtu + 1, 2 * activeMtu + 3];
const LARGE = 2 ** 20 + 3;
const SIZES = [0, 1, 7, 8, 9, 255, 256, 257, ...AROUND_MTU, LARGE];

async function move(
  t: Test,
  { a, b, ends }: Pair,
  { type, opcode, size }: { type: Service; opcode: SendOpcode; size: number },
  data: Uint8Array,
): Promise<void> {
  const header = type === 'UD' ? GRH_BYTES : 0;
  const from = opcode === 'rdma-read' ? b : a;
  const to = opcode === 'rdma-read' ? a : b;
  await from.fill(0, data);
  await to.fill(0, new Uint8Array(header + size + 8));
  if (opcode === 'send') await b.receive({ id: 1, sge: { offset: 0, length: header + size } });
  const { address, rkey } = await b.memory();
  const request: Send = {
    id: 2,
    opcode,
    signaled: true,
    sge: { offset: 0, length: size },
    remote: { address, rkey },
    ...(type === 'UD' ? { to: ends.b.receiving } : {}),
    ...(type === 'XRC' ? { remoteSrqn: ends.b.srqNum } : {}),
  };
  await a.send(request);
  const sent = await a.next();
  t.match(sent, { id: 2, status: 'SUCCESS' }, `${size} bytes: ${sent.problem ?? 'sent'}`);
  if (opcode === 'send') {
    t.match(await b.next(), { id: 1, status: 'SUCCESS', byteLen: header + size });
  } else if (type === 'UC') {
    // Unreliable writes are not acknowledged; what follows on the same connection comes after them.
    await b.receive({ id: 3 });
    await a.send({ opcode: 'send', signaled: true });
    await a.next();
    await b.next();
  }
  const arrived = Buffer.from(await to.read(header, size + 8));
  t.ok(arrived.subarray(0, size).equals(data), `${size} bytes arrived as they were`);
  t.ok(
    arrived.subarray(size).every((byte) => byte === 0),
    'and none beyond',
  );
}

const SERVICES: readonly (readonly [Service, readonly SendOpcode[], readonly number[]])[] = [
  ['RC', ['send', 'rdma-write', 'rdma-read'], SIZES],
  ['UC', ['send', 'rdma-write'], SIZES],
  ['UD', ['send'], SIZES.filter((size) => size <= activeMtu)],
  ['XRC', ['send', 'rdma-write', 'rdma-read'], SIZES],
];

for (const [type, opcodes, sizes] of SERVICES) {
  for (const opcode of opcodes) {
    overRoutes(
      `${type} ${opcode} moves messages of ${sizes.length} sizes`,
      { type, sizeBytes: Math.max(...sizes) + GRH_BYTES + 8 },
      async (t, pair) => {
        const random = seededRandom(t);
        const data = Uint8Array.from({ length: Math.max(...sizes) }, () => random.below(256));
        for (const size of sizes) {
          await move(t, pair, { type, opcode, size }, data.subarray(0, size));
        }
      },
    );
  }
}

overRoutes('a request of no bytes needs no key', {}, async (t, { a, b }) => {
  // InfiniBand Vol. 1, C9-88
  const remote = { address: 0n, rkey: 1 };
  await a.send([
    { id: 1, opcode: 'rdma-write', remote, signaled: true },
    { id: 2, opcode: 'rdma-read', remote, signaled: true },
  ]);
  t.match(await a.next(), { id: 1, status: 'SUCCESS' });
  t.match(await a.next(), { id: 2, status: 'SUCCESS' });
  await b.receive({ id: 3 });
  await a.send({ id: 4, opcode: 'send', signaled: true });
  t.match(await a.next(), { id: 4, status: 'SUCCESS' });
  t.match(await b.next(), { id: 3, status: 'SUCCESS', byteLen: 0 });
});

overRoutes(
  'path MTU and message size are independent',
  { connect: { mtu: 256 }, sizeBytes: LARGE },
  async (t, pair) => {
    const random = seededRandom(t);
    const data = Uint8Array.from({ length: 4099 }, () => random.below(256));
    for (const opcode of ['send', 'rdma-write', 'rdma-read'] as const) {
      await move(t, pair, { type: 'RC', opcode, size: data.length }, data);
    }
  },
);
