/** Sides in a process of a virtual machine that sees the host's files. */
import type { Test } from 'tap';

import type { VirtualMachine } from '../../../lib/vm/index.js';
import { Peer, PEER_PROGRAM } from './peer.js';

/** Closed with the test. */
export function startPeerIn(
  t: Test,
  vm: VirtualMachine,
  env: Readonly<Record<string, string>>,
): Peer {
  const child = vm.spawn(process.execPath, [PEER_PROGRAM], { env });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
  const ended = child.exited.then(
    ({ exitCode, signal }) => `${signal ?? exitCode} in VM ${vm.name}: ${words}`,
    (error: unknown) => String(error),
  );
  const { stdin, stdout } = child;
  const peer = new Peer({ stdin, stdout, ended, kill: (signal) => child.kill(signal) });
  t.teardown(() => peer.close());
  return peer;
}
