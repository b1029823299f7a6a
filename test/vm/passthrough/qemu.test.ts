/** A leased function in QEMU: arguments, and plugging by QMP. */
import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

import t from 'tap';

import { builtExecutable } from '../../../lib/addon/index.js';
import {
  plug,
  qemuArguments,
  unplug,
  type QmpConnection,
} from '../../../lib/vm/passthrough/qemu.js';
import { QmpClient } from '../../../lib/vm/qemu/qmp.js';
import { withoutQemu } from './guest.js';

const ADDRESS = '0000:3b:00.1';

/** Answers as it is told, and says what it was asked. */
class FakeQmp extends EventEmitter implements QmpConnection {
  readonly asked: unknown[] = [];
  answer = (): Promise<unknown> => Promise.resolve({});

  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    this.asked.push([command, args]);
    return this.answer();
  }
}

t.test('the arguments name the device and its place', async (t) => {
  t.same(qemuArguments(ADDRESS, { id: 'hca0', bus: 'port1' }), [
    '-device',
    'vfio-pci,host=0000:3b:00.1,id=hca0,bus=port1',
  ]);
  for (const id of ['', '0', 'a,b', 'a b', 'ä']) {
    t.throws(() => qemuArguments(ADDRESS, { id }), { code: 'ERR_PASSTHROUGH_ARGUMENT' }, id);
  }
  t.throws(() => qemuArguments(ADDRESS, { id: 'a', bus: 'x,y' }), /bus must be letters/);
});

t.test('plugging asks for the device, and passes a refusal on', async (t) => {
  const qmp = new FakeQmp();
  await plug(qmp, ADDRESS, { id: 'hca0', bus: 'port1' });
  t.same(qmp.asked, [
    ['device_add', { driver: 'vfio-pci', host: ADDRESS, id: 'hca0', bus: 'port1' }],
  ]);
  qmp.answer = () => Promise.reject(new Error('Bus "pcie.0" does not support hotplugging'));
  await t.rejects(plug(qmp, ADDRESS, { id: 'hca0' }), {
    code: 'ERR_PASSTHROUGH_PLUG',
    message: /does not support hotplugging; give it a bus/,
  });
});

t.test('unplugging waits for the device’s own event, before or after the answer', async (t) => {
  const qmp = new FakeQmp();
  qmp.answer = async () => {
    qmp.emit('DEVICE_DELETED', { device: 'hca0', path: '/machine/peripheral/hca0' });
  };
  await unplug(qmp, 'hca0');
  qmp.answer = async () => {
    setImmediate(() => qmp.emit('DEVICE_DELETED', { path: '/machine/peripheral/hca0/bus' }));
    setImmediate(() => qmp.emit('DEVICE_DELETED', { device: 'other' }));
  };
  await t.rejects(unplug(qmp, 'hca0', { timeoutMs: 50 }), {
    code: 'ERR_PASSTHROUGH_UNPLUG',
    message: /within 50 ms/,
  });
  t.same(qmp.eventNames(), [], 'no listener is left');
});

t.test('unplugging ends with a refusal of QEMU or the guest, or the signal', async (t) => {
  const qmp = new FakeQmp();
  qmp.answer = async () => {
    setImmediate(() => qmp.emit('DEVICE_UNPLUG_GUEST_ERROR', { device: 'hca0' }));
  };
  await t.rejects(unplug(qmp, 'hca0'), { code: 'ERR_PASSTHROUGH_UNPLUG', message: /refused/ });
  qmp.answer = () => Promise.reject(new Error("Device 'hca0' not found"));
  await t.rejects(unplug(qmp, 'hca0'), { code: 'ERR_PASSTHROUGH_UNPLUG', message: /not found/ });
  qmp.answer = () => Promise.resolve();
  const controller = new AbortController();
  const unplugging = unplug(qmp, 'hca0', { signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.rejects(unplugging, { message: 'enough' });
  t.same(qmp.eventNames(), [], 'no listener is left');
});

t.test(
  'QEMU itself says when a device is gone, or why none came',
  { skip: withoutQemu },
  async (t) => {
    const guard = ['--parent', String(process.pid), '--kill-tree', '--', 'qemu-system-x86_64'];
    const machine = ['-M', 'q35', '-S', '-nodefaults', '-display', 'none', '-device', 'qemu-xhci'];
    const monitor = ['-chardev', 'socket,id=m,fd=3', '-mon', 'chardev=m,mode=control'];
    const qemu = spawn(
      builtExecutable('viaduct-guard'),
      [...guard, ...machine, '-device', 'usb-kbd,id=keyboard', ...monitor],
      { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], detached: true },
    );
    const ended = new Promise((resolve) => qemu.on('close', resolve));
    const qmp = new QmpClient(qemu.stdio[3] as Socket);
    try {
      await qmp.negotiate();
      await unplug(qmp, 'keyboard');
      await t.rejects(unplug(qmp, 'keyboard'), { message: /QEMU said: .*not found/ });
      await t.rejects(plug(qmp, 'ffff:1f:1f.7', { id: 'hca0' }), { code: 'ERR_PASSTHROUGH_PLUG' });
    } finally {
      qmp.close();
      qemu.kill('SIGTERM');
      await ended;
    }
  },
);
