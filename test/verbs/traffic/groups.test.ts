/** Multicast groups as packets: who gets a datagram, how often, and until when. */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { lackingNamespaces, linkNoticed, startBeside, startNeighbours } from './namespaces.js';
import type { Peer } from './peer.js';
import { isSoftwareHca } from './routes.js';
import { GRH_BYTES, type Side } from './side.js';

const skip = lackingNamespaces() || (!isSoftwareHca && 'this is about the software HCA');

const EVERY_MEMBER = 0xffffff;
/** Of a whole group, as of all its members. */
const QKEY = 0x1234;
const SIZE = 64;
const RECEIVES = 4;

const FAMILIES = [
  { from: 'IPv4', group: '0000:0000:0000:0000:0000:ffff:ef4d:0001' },
  { from: 'IPv6', group: 'ff15:0000:0000:0000:0000:0000:0000:0077' },
] as const;

for (const { from, group } of FAMILIES) {
  t.test(
    `a datagram to a group of ${from} comes once to each member but its sender`,
    { skip },
    async (t) => {
      const { a, b, joined } = startNeighbours();
      t.teardown(() => Promise.all([a.close(), b.close()]));
      await joined;
      await linkNoticed(a);
      await linkNoticed(b);
      const beside = await startBeside(a);
      t.teardown(() => beside.close());
      const open = async (peer: Peer): Promise<Side> => {
        const side = await peer.side({ type: 'UD', sizeBytes: 8192, from });
        t.teardown(() => side.close());
        // A queue pair of datagrams names no peer.
        await side.connect(await side.ends());
        await side.modify({ qpState: 'RTS', qkey: QKEY });
        return side;
      };
      const sender = await open(a);
      const [sameProcess, sameHost, otherHost, noMember] = [
        await open(a),
        await open(beside),
        await open(b),
        await open(b),
      ];
      const members = [sender, sameProcess, sameHost, otherHost];
      for (const member of members) await member.join(group, 0);
      const ids = Array.from({ length: RECEIVES }, (_, id) => id);
      for (const side of [...members, noMember]) {
        await side.receive(ids.map((id) => ({ id, sge: { offset: 1024 * id, length: 512 } })));
      }
      const { receiving } = await otherHost.ends();
      const to = { ...receiving, qpn: EVERY_MEMBER, gid: group, qkey: QKEY };
      const send = async (value: number): Promise<void> => {
        await sender.fill(7168, new Uint8Array(SIZE).fill(value));
        await sender.send({
          id: value,
          opcode: 'send',
          sge: { offset: 7168, length: SIZE },
          to,
          signaled: true,
        });
        t.match(await sender.next(), { id: value, status: 'SUCCESS' });
      };
      await send(1);
      await send(2);
      for (const member of members.slice(1)) {
        for (const id of [0, 1]) {
          t.match(await member.next(), { id, status: 'SUCCESS', byteLen: GRH_BYTES + SIZE });
          t.same(await member.read(1024 * id + GRH_BYTES, SIZE), new Uint8Array(SIZE).fill(id + 1));
        }
      }
      const pid = await b.processNumber();
      const memberships = (): string =>
        readFileSync(`/proc/${pid}/net/${from === 'IPv4' ? 'igmp' : 'igmp6'}`, 'utf8');
      const inKernel = from === 'IPv4' ? '01004DEF' : 'ff150000000000000000000000000077';
      t.match(memberships(), inKernel, 'the kernel knows of the group');
      await otherHost.leave(group, 0);
      t.notMatch(memberships(), inKernel, 'and of its end');
      await send(3);
      t.match(await sameHost.next(), { id: 2 });
      t.match(await sameProcess.next(), { id: 2 });
      for (const side of [...members, noMember]) t.same(await side.poll(), [], 'and nothing more');
    },
  );
}
