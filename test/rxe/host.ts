/** A guest with Soft-RoCE, and this host with the software HCA on its network. Both end with the test. */
import { execFileSync } from 'node:child_process';

import type { Test } from 'tap';

import { bootGuest, type Guest } from '../../bench/rxe/guests.js';
import { VirtualLink } from '../../lib/vm/index.js';
import { Peer } from '../verbs/traffic/peer.js';
import { withoutRxe } from './guests.js';

const ADDRESS = '10.86.0.254';
const SIXTH = 'fd86::fe';

function withoutTap(): string | false {
  try {
    VirtualLink.create(1, { hostAddress: `${ADDRESS}/24` }).close();
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What tap takes as `skip`: false where all is there. */
export const withoutHost = withoutRxe || withoutTap();

export interface Neighbourhood {
  readonly guest: Guest;
  readonly hostAddress: string;
  /** What to put before a command to run it on this host, in the network of the guest. */
  readonly enter: readonly [string, ...string[]];
}

export async function joinHost(t: Test): Promise<Neighbourhood> {
  const link = VirtualLink.create(1, { hostAddress: `${ADDRESS}/24` });
  t.teardown(() => link.close());
  const [program, ...args] = ['nsenter', `--net=${link.namespacePath ?? ''}`, '--'] as const;
  const sixth = ['address', 'add', `${SIXTH}/64`, 'dev', 'viaduct0', 'nodad'];
  execFileSync(program, [...args, 'ip', '-6', ...sixth]);
  const guest = await bootGuest(link.ends[0], 1);
  t.teardown(() => guest.vm.kill());
  return { guest, hostAddress: ADDRESS, enter: [program, ...args] };
}

/** A process on this host with sides of the traffic suite on the software HCA. */
export function startHostPeer(
  t: Test,
  { enter }: Neighbourhood,
  env: NodeJS.ProcessEnv = {},
): Peer {
  const all = { VIADUCT_LINK_LAYER: 'ethernet', ...env };
  const peer = Peer.start(all, [...enter, process.execPath]);
  t.teardown(() => peer.close());
  return peer;
}
