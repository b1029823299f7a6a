/** Verbs between virtual machines of both drivers and the host, by packets through rings in an aperture alone. */
import t from 'tap';

import { Aperture } from '../../lib/aperture/index.js';
import { VirtualMachine } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import { withoutUml } from '../uml-installed.js';
import { takeRoutes } from '../verbs/traffic/elsewhere.js';
import { Peer } from '../verbs/traffic/peer.js';
import { startPeerIn } from '../verbs/traffic/peer-in-vm.js';

t.setTimeout(120_000);

/** For four participants. */
const RINGS_BYTES = 4 * 2 ** 20;

const skip = withoutUml || withoutQemu;
if (skip !== false) {
  t.test('packets through an aperture', { skip }, async () => {});
} else {
  const aperture = Aperture.create({ sizeBytes: RINGS_BYTES });
  t.teardown(() => aperture.close());
  const { offset } = aperture.allocate(RINGS_BYTES);
  const ringsAt = (path: string): Record<string, string> => ({
    VIADUCT_PACKET_RINGS: `${path}@${offset}+${RINGS_BYTES}`,
  });
  const boot = async (driver: 'uml' | 'qemu'): Promise<Peer> => {
    const vm = await VirtualMachine.boot({
      ...{ driver, name: `of-${driver}`, aperture: aperture.path },
      timeoutMs: 100_000,
    });
    t.teardown(() => vm.kill());
    return startPeerIn(t, vm, ringsAt(vm.apertureDoor));
  };
  const [uml, qemu] = await Promise.all([boot('uml'), boot('qemu')]);
  const host = Peer.start(ringsAt(aperture.path));
  t.teardown(() => host.close());
  takeRoutes(
    [
      { name: 'UML to QEMU', at: { a: uml, b: qemu }, path: 'packets' },
      { name: 'this host to UML', at: { a: host, b: uml }, path: 'packets' },
    ],
    /^RC: .* of one piece by ibv_post_send$|^RC .* moves messages|answered by the header/,
  );
  // Before any test of this file: tap ends with the last one that it knows of.
  await import('../verbs/traffic/opcodes.test.js');
  await import('../verbs/traffic/sizes.test.js');
  await import('../verbs/traffic/datagrams.test.js');
}
