/** Networks between machines. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';

import t from 'tap';

import { VirtualLink, VirtualMachine } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import { withoutUml } from '../uml-installed.js';

t.setTimeout(120_000);

const server = `
  const server = net.createServer((socket) => socket.pipe(socket).on('end', () => server.close()));
  server.listen(5000, () => console.log('listening'));
`;
const client = `
  const socket = net.connect(5000, '10.86.0.1');
  const data = crypto.randomBytes(300000);
  let rounds = 0, received = [];
  socket.setNoDelay(true).write('x');
  socket.on('data', (chunk) => {
    if (rounds < 20) { rounds += 1; socket.write(rounds < 20 ? 'x' : data); return; }
    received.push(chunk);
    const all = Buffer.concat(received);
    if (all.length < data.length) return;
    console.log(rounds, all.equals(data));
    socket.end();
  });
`;

/** Network namespaces that this process holds open. */
function namespacesInUse(): string[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      return target.startsWith('net:') ? [target] : [];
    } catch {
      return [];
    }
  });
}

for (const ends of [2, 3]) {
  t.test(
    `${ends} machines on one link reach each other by TCP`,
    { skip: withoutUml },
    async (t) => {
      const link = VirtualLink.create(ends);
      const vms = await Promise.all(
        link.ends.map((network, index) =>
          VirtualMachine.boot({ network, address: `10.86.0.${index + 1}/24` }),
        ),
      );
      t.teardown(async () => {
        await Promise.all(vms.map((vm) => vm.kill()));
        link.close();
      });
      const first = vms[0];
      const last = vms[ends - 1];
      const serving = first.spawn('node', ['-e', server]);
      await new Promise((resolve) => serving.stdout.once('data', resolve));
      const result = await last.exec('node', ['-e', client], { timeoutMs: 60_000 });
      t.match(result, { exitCode: 0, stdout: '20 true\n', stderr: '' });
      t.match(await serving.exited, { exitCode: 0 });
    },
  );
}

t.test(
  'machines of both drivers reach each other',
  { skip: withoutUml || withoutQemu },
  async (t) => {
    const link = VirtualLink.create(2);
    const [first, last] = await Promise.all(
      (['uml', 'qemu'] as const).map((driver, index) =>
        VirtualMachine.boot({
          driver,
          network: link.ends[index],
          address: `10.86.0.${index + 1}/24`,
        }),
      ),
    );
    t.teardown(async () => {
      await Promise.all([first?.kill(), last?.kill()]);
      link.close();
    });
    const serving = first?.spawn('node', ['-e', server]);
    await new Promise((resolve) => serving?.stdout.once('data', resolve));
    const result = await last?.exec('node', ['-e', client], { timeoutMs: 60_000 });
    t.match(result, { exitCode: 0, stdout: '20 true\n', stderr: '' });
  },
);

t.test('machines of QEMU have an address each', { skip: withoutQemu }, async (t) => {
  const link = VirtualLink.create(2);
  const vms = await Promise.all(
    link.ends.map((network) =>
      VirtualMachine.boot({ driver: 'qemu', network, programs: ['cat'], timeoutMs: 100_000 }),
    ),
  );
  t.teardown(async () => {
    await Promise.all(vms.map((vm) => vm.kill()));
    link.close();
  });
  const read = ['/sys/class/net/eth0/address'];
  const [first, last] = await Promise.all(vms.map((vm) => vm.exec('cat', read)));
  t.match(first?.stdout, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}\n$/);
  t.not(first?.stdout, last?.stdout);
});

const withoutTaps = ((): string | false => {
  try {
    VirtualLink.create(1, { hostAddress: '10.86.0.254/24' }).close();
    return false;
  } catch (error) {
    return (error as Error).message;
  }
})();

t.test(
  'machines of both drivers and the host reach each other',
  { skip: withoutUml || withoutQemu || withoutTaps },
  async (t) => {
    const link = VirtualLink.create(2, { hostAddress: '10.86.0.254/24' });
    const [first, last] = await Promise.all(
      (['uml', 'qemu'] as const).map((driver, index) =>
        VirtualMachine.boot({
          driver,
          network: link.ends[index],
          address: `10.86.0.${index + 1}/24`,
          timeoutMs: 100_000,
        }),
      ),
    );
    t.teardown(async () => {
      await Promise.all([first?.kill(), last?.kill()]);
      link.close();
    });
    const serving = first?.spawn('node', ['-e', server]);
    await new Promise((resolve) => serving?.stdout.once('data', resolve));
    const result = await last?.exec('node', ['-e', client], { timeoutMs: 60_000 });
    t.match(result, { exitCode: 0, stdout: '20 true\n', stderr: '' });

    const again = first?.spawn('node', ['-e', server]);
    await new Promise((resolve) => again?.stdout.once('data', resolve));
    const inside = ['--net=' + (link.namespacePath ?? ''), process.execPath, '-e', client];
    const host = spawn('nsenter', inside, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => host.kill('SIGKILL'));
    let said = '';
    host.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    // The machines must stay until the connection is closed.
    await once(host, 'close');
    t.equal(said, '20 true\n');
  },
);

t.test('the host’s interface is gone when its link is closed', { skip: withoutTaps }, async (t) => {
  const link = VirtualLink.create(3, { hostAddress: '10.86.0.254/24' });
  t.equal(link.ends.length, 3);
  const namespace = readlinkSync(link.namespacePath ?? '');
  t.ok(namespacesInUse().includes(namespace));
  link.close();
  t.notOk(namespacesInUse().includes(namespace));
  t.throws(() => link.namespacePath, { code: 'ERR_CLOSED' });
});

t.test('an address that is none is refused', async (t) => {
  t.throws(() => VirtualLink.create(2, { hostAddress: 'here' }), {
    code: 'ERR_VM_ARGUMENT',
    message: /hostAddress must be like 10\.86\.0\.254\/24, not here/,
  });
});

t.test('an interface that is not there can’t be configured', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot({ name: 'alone' });
  t.teardown(() => vm.kill());
  await t.rejects(vm.configureNetwork('10.86.0.1/24'), {
    code: 'ERR_VM_NETWORK',
    message: /VM alone: vec0 can't be given 10\.86\.0\.1\/24/,
  });
  await t.rejects(vm.configureNetwork('10.86.0/24'), { code: 'ERR_VM_ARGUMENT' });
  await t.rejects(vm.configureNetwork('10.86.0.1/33'), { code: 'ERR_VM_ARGUMENT' });
});

t.test('a link has 2 to 128 ends', async (t) => {
  for (const ends of [0, 1, 129, 2.5, Number.NaN]) {
    t.throws(() => VirtualLink.create(ends), { code: 'ERR_VM_ARGUMENT' });
  }
});

t.test('a link that is closed has no ends, and closes twice', async (t) => {
  const link = VirtualLink.create(3);
  t.equal(link.ends.length, 3);
  link.close();
  link.close();
  t.throws(() => link.ends, { code: 'ERR_CLOSED' });
});
