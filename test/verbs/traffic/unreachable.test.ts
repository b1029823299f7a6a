/** Connections to other hosts that can't be: refused before RTR, with what to do about it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import t, { type Test } from 'tap';

import { Aperture } from 'viaduct/aperture';
import type { QueuePairAttributes } from 'viaduct/verbs';

import { lackingNamespaces, type Neighbours, startNeighbours } from './namespaces.js';
import { Peer } from './peer.js';
import { isSoftwareHca, openPair, type Pair, RINGS_BYTES, type Route } from './routes.js';

const skip = lackingNamespaces() || (!isSoftwareHca && 'this is about the software HCA');

const IPV4 = '0000:0000:0000:0000:0000:ffff';
const NOWHERE = `${IPV4}:c633:6401`; // 198.51.100.1, of documentation (RFC 5737)

/** Sides that were connected once. */
async function openNeighbours(t: Test): Promise<{ neighbours: Neighbours; pair: Pair }> {
  const neighbours = startNeighbours({ mtu: 1500 });
  const { a, b, joined } = neighbours;
  t.teardown(() => Promise.all([a.close(), b.close()]));
  const route: Route = {
    ...{ name: 'packets', path: 'packets', shareable: { a: false, b: false } },
    ...{ at: { a, b }, ready: joined },
  };
  return { neighbours, pair: await openPair(t, route) };
}

/** From RESET to RTR, by such an address vector. */
async function modifyToRtr(
  { a, ends }: Pair,
  change: Partial<QueuePairAttributes['ahAttr']>,
  pathMtu: 256 | 1024 | 4096 = 1024,
): Promise<void> {
  await a.reset();
  await a.modify({ qpState: 'INIT', portNum: 1, pkeyIndex: 0, qpAccessFlags: [] });
  const { qpn, psn, gid } = ends.b.receiving;
  await a.modify({
    ...{ qpState: 'RTR', pathMtu, destQpNum: qpn, rqPsn: psn, maxDestRdAtomic: 1 },
    ...{ minRnrTimer: 12, ahAttr: { dgid: gid ?? '', sgidIndex: 2, ...change } },
  });
}

t.test('what is wrong with a connection is said before it is ready', { skip }, async (t) => {
  const { pair } = await openNeighbours(t);
  const refused = [
    [
      'a path MTU that the interface does not carry',
      () => modifyToRtr(pair, {}, 4096),
      /path MTU of 4096 bytes is more than the interface packets0 of the GID 10\.77\.0\.1 carries: 1024/,
    ],
    [
      'a peer without a route',
      () => modifyToRtr(pair, { dgid: NOWHERE }),
      /no way from 10\.77\.0\.1 to the peer's GID 198\.51\.100\.1: Network is unreachable; see `ip route get/,
    ],
    [
      'an empty GID index',
      () => modifyToRtr(pair, { sgidIndex: 60 }),
      /GID index 60 is empty; the GID table has: 2: 10\.77\.0\.1/,
    ],
    [
      'a GID that means this host alone',
      () => modifyToRtr(pair, { sgidIndex: 0 }),
      /GID index 0 means this host alone, and 10\.77\.0\.2 is another; send from an address: 2: 10\.77\.0\.1/,
    ],
    [
      'GIDs of two IP versions',
      () => modifyToRtr(pair, { dgid: 'fd77:0000:0000:0000:0000:0000:0000:0002' }),
      /the GID 10\.77\.0\.1 at index 2 and the peer's, fd77::2, are of different IP versions/,
    ],
  ] as const;
  for (const [what, run, message] of refused) {
    await t.rejects(run(), { code: 'ERR_VERBS_MODIFY', message }, what);
  }
  await modifyToRtr(pair, {});
  t.equal(await pair.a.state(), 'RTR', 'and with nothing wrong it becomes so');
});

t.test('port 4791 that another program has is named', { skip }, async (t) => {
  const neighbours = startNeighbours();
  const { a, b, joined } = neighbours;
  t.teardown(() => Promise.all([a.close(), b.close()]));
  await joined;
  const pid = await a.processNumber();
  const program =
    "require('dgram').createSocket('udp4').bind(4791, '10.77.0.1', () => console.log('bound'))";
  const command = ['-t', String(pid), '-n', '--', process.execPath, '-e', program];
  const other = spawn('nsenter', command, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(async () => {
    other.kill();
    if (other.exitCode === null && other.signalCode === null) await once(other, 'exit');
  });
  await once(createInterface(other.stdout), 'line');
  const route: Route = {
    ...{ name: 'packets', path: 'packets', shareable: { a: false, b: false } },
    at: { a, b },
  };
  await t.rejects(openPair(t, route), {
    code: 'ERR_VERBS_MODIFY',
    message: /UDP port 4791 of 10\.77\.0\.1 can't be used: .*; another .*rdma link delete/,
  });
});

t.test(
  'peers that the rings of packets do not reach are named',
  { skip: !isSoftwareHca && 'this is about the software HCA' },
  async (t) => {
    const start = (): Peer => {
      const aperture = Aperture.create({ sizeBytes: RINGS_BYTES });
      const { offset } = aperture.allocate(RINGS_BYTES);
      const env = { VIADUCT_PACKET_RINGS: `${aperture.path}@${offset}+${RINGS_BYTES}` };
      const peer = Peer.start(env);
      t.teardown(async () => {
        await peer.close();
        aperture.close();
      });
      return peer;
    };
    const [a, b] = [start(), start()];
    const route: Route = {
      ...{ name: 'rings', path: 'packets', shareable: { a: false, b: false }, at: { a, b } },
    };
    await t.rejects(openPair(t, route), {
      code: 'ERR_VERBS_MODIFY',
      message:
        /peer's GID fd56:6961:\S+ is none of the aperture in VIADUCT_PACKET_RINGS; give both/,
    });
  },
);
