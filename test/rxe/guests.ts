/** What the tests with guests need of this host, and guests that end with a test. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';

import type { Test } from 'tap';

import { bootGuest, type Guest, RXE_DEVICE } from '../../bench/rxe/guests.js';
import { findInPath } from '../../lib/vm/drivers/program.js';
import { VirtualLink } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import type { Peer } from '../verbs/traffic/peer.js';
import { startPeerIn } from '../verbs/traffic/peer-in-vm.js';

function findProvider(): string | false {
  const folder = '/etc/libibverbs.d';
  const drivers = existsSync(folder) ? readdirSync(folder) : [];
  const names = drivers.map((name) => readFileSync(`${folder}/${name}`, 'utf8')).join('');
  return /^driver .*rxe/m.test(names)
    ? false
    : 'libibverbs has no provider rxe; apt-get install ibverbs-providers';
}

/** What tap takes as `skip`: false where all is there. */
export const withoutRxe =
  withoutQemu ||
  findProvider() ||
  (findInPath('rdma') === undefined && 'rdma is not in PATH; apt-get install iproute2');

/** The files of test/verbs/traffic that run over routes elsewhere. */
export const TRAFFIC_SUITE = [
  ...['datagrams', 'events', 'failures', 'opcodes', 'queues', 'sizes', 'windows'],
] as const;

/** Two guests of one network; they end with the test. */
export async function bootGuests(t: Test): Promise<[Guest, Guest]> {
  const link = VirtualLink.create(2);
  const booting = [bootGuest(link.ends[0], 1), bootGuest(link.ends[1], 2)] as const;
  t.teardown(async () => {
    const booted = await Promise.allSettled(booting);
    for (const each of booted) if (each.status === 'fulfilled') await each.value.vm.kill();
    link.close();
  });
  return Promise.all(booting);
}

/** A process in the guest with sides of the traffic suite on its device. */
export function startPeer(t: Test, { vm }: Guest): Peer {
  return startPeerIn(t, vm, { VIADUCT_TEST_DEVICE: RXE_DEVICE });
}
