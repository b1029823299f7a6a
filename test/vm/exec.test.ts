/** Commands in a guest: output, status, input, environment, limits. All in one machine of each driver. */
import {
  chmodSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { text } from 'node:stream/consumers';

import t from 'tap';

import { VirtualMachine, VmError } from '../../lib/vm/index.js';
import { withoutQemu } from '../qemu-installed.js';
import { withoutUml } from '../uml-installed.js';

t.setTimeout(120_000);

const drivers = [
  ['uml', withoutUml],
  ['qemu', withoutQemu],
] as const;

for (const [driver, skip] of drivers)
  t.test(`commands in a guest of driver ${driver}`, { skip }, async (t) => {
    const vm = await VirtualMachine.boot({ driver, name: 'worker' });
    t.teardown(() => vm.kill());

    await t.test('a machine that has booted knows its kernel and its boot phases', async (t) => {
      t.equal(vm.state, 'running');
      t.match(vm.kernel, /^\d+\.\d+/);
      t.ok(vm.bootPhases.agentMs >= vm.bootPhases.kernelMs);
      // QEMU's kernel is told to say only what is wrong.
      if (driver === 'uml') t.match(vm.consoleText, /Run \/init as init process/);
    });

    await t.test('output and exit status come back, each stream by itself', async (t) => {
      const result = await vm.exec('sh', ['-c', 'echo out; echo err >&2; exit 3']);
      t.same(result, { exitCode: 3, signal: null, stdout: 'out\n', stderr: 'err\n' });
    });

    await t.test('a port of the guest takes a connection to the host', async (t) => {
      const { port, connection } = await vm.openPort();
      const script = `const socket = require('net').connect(${port}, '127.0.0.1');
        socket.on('data', (text) => socket.end(String(text).toUpperCase()));`;
      connection.write('hello');
      const { exitCode } = await vm.exec('node', ['-e', script]);
      t.equal(exitCode, 0);
      t.equal(await text(connection), 'HELLO');
    });

    await t.test('a port that nobody connects to closes with the host’s end', async () => {
      const { connection } = await vm.openPort();
      connection.end();
      for await (const chunk of connection) throw new Error(`it says ${String(chunk)}`);
    });

    await t.test('a command that dies of a signal says which', async (t) => {
      const { exitCode, signal } = await vm.exec('sh', ['-c', 'kill -SEGV $$']);
      t.same([exitCode, signal], [null, 'SIGSEGV']);
    });

    await t.test('node runs, under the name of the machine', async (t) => {
      const { stdout } = await vm.exec('node', ['-p', 'os.hostname() + " " + process.version']);
      t.equal(stdout, `worker ${process.version}\n`);
    });

    await t.test('cwd and env reach the command', async (t) => {
      const options = { cwd: '/usr/share', env: { GREETING: 'a b\nc', HOME: undefined } };
      const { stdout } = await vm.exec(
        'sh',
        ['-c', 'pwd; echo "$GREETING"; echo ${HOME-none}'],
        options,
      );
      t.equal(stdout, '/usr/share\na b\nc\nnone\n');
    });

    await t.test('input of every byte comes back unchanged, far beyond the windows', async (t) => {
      const data = Buffer.alloc(700_000);
      for (let at = 0; at < data.byteLength; at += 1) data[at] = (at * 2654435761) >>> 11;
      const { stdout } = await vm.exec('cat', [], { stdin: data, encoding: 'latin1' });
      t.ok(Buffer.from(stdout, 'latin1').equals(data));
    });

    await t.test('a command need not read its input', async (t) => {
      t.match(await vm.exec('true', [], { stdin: Buffer.alloc(1 << 20) }), { exitCode: 0 });
    });

    await t.test('large output is complete before the exit status', async (t) => {
      let byteLength = 0;
      const onStdout = (chunk: Buffer): void => {
        byteLength += chunk.byteLength;
      };
      const result = await vm.exec('head', ['-c', '8000000', '/dev/zero'], { onStdout });
      t.equal(byteLength, 8_000_000);
      t.equal(result.stdout, '');
    });

    await t.test('a reader that pauses holds the command back and loses nothing', async (t) => {
      const guestProcess = vm.spawn('head', ['-c', '1000000', '/dev/zero']);
      guestProcess.stdin.end();
      await guestProcess.started;
      let byteLength = 0;
      for await (const chunk of guestProcess.stdout) {
        byteLength += (chunk as Buffer).byteLength;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      t.equal(byteLength, 1_000_000);
      t.match(await guestProcess.exited, { exitCode: 0 });
    });

    await t.test('a command talks while it runs, and is ended by a signal', async (t) => {
      const guestProcess = vm.spawn('cat');
      t.ok((await guestProcess.started) > 1);
      guestProcess.stdin.write('ping');
      const chunk = await new Promise((resolve) => guestProcess.stdout.once('data', resolve));
      t.equal(String(chunk), 'ping');
      guestProcess.kill('SIGTERM');
      t.same(await guestProcess.exited, { exitCode: null, signal: 'SIGTERM' });
    });

    await t.test('many commands run at a time', async (t) => {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, index) => vm.exec('echo', [String(index)])),
      );
      t.same(
        results.map(({ stdout }) => stdout),
        results.map((_, index) => `${index}\n`),
      );
    });

    await t.test('a process that a command leaves behind does not keep it', async (t) => {
      const { stdout } = await vm.exec('sh', ['-c', 'sleep 1000 & echo started']);
      t.equal(stdout, 'started\n');
    });

    await t.test('a command that can’t be started says what failed', async (t) => {
      await t.rejects(vm.exec('no-such-program'), {
        code: 'ERR_VM_EXEC',
        message: /VM worker: no-such-program could not be started: exec: ENOENT; .* PATH/,
      });
      await t.rejects(vm.exec('true', [], { cwd: '/no/such' }), {
        code: 'ERR_VM_EXEC',
        message: /chdir: ENOENT/,
      });
    });

    await t.test('arguments that no command can have are refused', async (t) => {
      await t.rejects(vm.exec('true', ['a\0b']), { code: 'ERR_VM_ARGUMENT' });
      await t.rejects(vm.exec('true', [], { cwd: 'here' }), { code: 'ERR_VM_ARGUMENT' });
      await t.rejects(vm.exec('true', ['x'.repeat(2 ** 20)]), { code: 'ERR_VM_ARGUMENT' });
    });

    await t.test('a command that takes too long is killed, and the machine goes on', async (t) => {
      const endless = vm.exec('sh', ['-c', 'echo $$; exec sleep 1000'], { timeoutMs: 300 });
      await t.rejects(endless, { code: 'ERR_VM_EXEC_TIMEOUT', message: /sh .* 300 ms/ });
      t.match(await vm.exec('sh', ['-c', 'ps -e -o args | grep "^sleep 1000$" | wc -l']), {
        // The one that was left behind above.
        stdout: '1\n',
      });
    });

    await t.test('an AbortSignal ends a command with its reason', async (t) => {
      const controller = new AbortController();
      const running = vm.exec('sleep', ['1000'], { signal: controller.signal });
      controller.abort(new Error('enough'));
      await t.rejects(running, { message: 'enough' });
      await t.rejects(vm.exec('true', [], { signal: controller.signal }), { message: 'enough' });
    });

    await t.test('more output than is to be collected is an error', async (t) => {
      await t.rejects(vm.exec('head', ['-c', '5000', '/dev/zero'], { maxOutputBytes: 4999 }), {
        code: 'ERR_VM_OUTPUT',
      });
    });

    await t.test('the host’s files are seen and can’t be changed', async (t) => {
      const file = `/tmp/viaduct-test-${process.pid}`;
      writeFileSync(file, 'host');
      t.teardown(() => rmSync(file));
      const script = `cat ${file}; echo guest > ${file}; cat ${file}; mount -o remount,rw /; echo x > /usr/viaduct-test`;
      const { stdout, stderr } = await vm.exec('sh', ['-c', script]);
      t.equal(stdout, 'hostguest\n');
      t.match(stderr, /viaduct-test: Read-only file system/);
      t.equal(readFileSync(file, 'utf8'), 'host');
    });

    await t.test('/dev, /dev/shm and /proc are the guest’s own', async (t) => {
      const script =
        'echo x > /dev/shm/a && cat /dev/shm/a; cat /proc/sys/kernel/hostname; ls /dev/fd/0';
      const { stdout } = await vm.exec('sh', ['-c', script]);
      t.equal(stdout, 'x\nworker\n/dev/fd/0\n');
    });

    await t.test('the guest’s memory is told', async (t) => {
      const { totalBytes, freeBytes, availableBytes } = await vm.memory();
      t.ok(totalBytes > 200 * 2 ** 20 && totalBytes <= 256 * 2 ** 20);
      t.ok(freeBytes > 0 && freeBytes < totalBytes);
      t.ok(availableBytes > 0 && availableBytes < totalBytes);
    });

    await t.test('files are copied in and out, with their modes and links', async (t) => {
      const folder = t.testdir({
        from: {
          'run.sh': '#!/bin/sh',
          empty: '',
          folder: { large: 'x'.repeat(300_000), link: t.fixture('symlink', '../run.sh') },
        },
      });
      const [from, to] = [`${folder}/from`, `${folder}/to`];
      chmodSync(`${from}/run.sh`, 0o751);
      chmodSync(`${from}/folder`, 0o710);
      await vm.copyIn(from, '/tmp/copy');
      const listing = await vm.exec('sh', ['-c', 'stat -c "%n %a %s" run.sh empty folder/*'], {
        cwd: '/tmp/copy',
      });
      t.equal(
        listing.stdout,
        'run.sh 751 9\nempty 644 0\nfolder/large 644 300000\nfolder/link 777 9\n',
        listing.stderr,
      );
      await vm.copyOut('/tmp/copy', to);
      t.equal(statSync(`${to}/run.sh`).mode & 0o7777, 0o751);
      t.equal(statSync(`${to}/folder`).mode & 0o7777, 0o710);
      t.equal(readlinkSync(`${to}/folder/link`), '../run.sh');
      t.equal(readFileSync(`${to}/folder/large`, 'utf8'), 'x'.repeat(300_000));
    });

    await t.test('a copy that can’t be says why, and leaves nothing', async (t) => {
      const to = `${t.testdir({ file: 'x' })}/to`;
      await t.rejects(vm.copyIn('/no/such', '/tmp/x'), { code: 'ERR_VM_COPY', message: /ENOENT/ });
      await t.rejects(vm.copyIn(`${t.testdirName}/file`, '/usr/x'), {
        code: 'ERR_VM_COPY',
        message: /Read-only file system.*\/tmp and \/dev\/shm/,
      });
      await t.rejects(vm.copyOut('/no/such', to), {
        code: 'ERR_VM_COPY',
        message: /No such file or directory/,
      });
      await vm.exec('sh', ['-c', 'mkdir /tmp/trap; ln -s /etc /tmp/trap/out']);
      await t.rejects(vm.copyOut('/tmp/trap', to), {
        code: 'ERR_VM_COPY',
        message: /leads to \/etc/,
      });
      await t.rejects(vm.copyOut('/dev', to), { code: 'ERR_VM_COPY', message: /neither a file/ });
      await t.rejects(vm.copyOut('tmp', to), { code: 'ERR_VM_ARGUMENT' });
      t.same(readdirSync(t.testdirName), ['file']);
    });

    await t.test('what a machine takes of its host is told', async (t) => {
      const { cpuMs, residentBytes, guestMemory } = await vm.stats();
      t.ok(cpuMs > 0);
      t.ok(residentBytes > 2 ** 20 && residentBytes < 2 ** 30, `${residentBytes} bytes`);
      t.ok((guestMemory?.freeBytes ?? 0) > 0);
    });

    await t.test('what this machine can’t do is refused before anything happens', async (t) => {
      const file = `${t.testdir({})}/snapshot`;
      const error = { code: 'ERR_VM_UNSUPPORTED', vm: 'worker' };
      await t.rejects(vm.snapshot(file), error);
      await t.rejects(vm.migrate(file), error);
      if (driver === 'uml') {
        await t.rejects(vm.pause(), error);
        await t.rejects(vm.resizeMemory(2 ** 27), error);
        await t.rejects(VirtualMachine.restore(file, { driver }), { code: 'ERR_VM_UNSUPPORTED' });
      }
      t.same(readdirSync(t.testdirName), []);
      t.equal(vm.state, 'running');
    });

    await t.test('after its stop a machine says that it is gone', async (t) => {
      const running = vm.exec('sleep', ['1000']);
      const exit = await vm.stop();
      t.match(exit, { exitCode: 0, error: undefined });
      await running.catch((error: unknown) => t.ok(error instanceof VmError));
      t.equal(vm.state, 'ended');
      t.throws(() => vm.spawn('true'), { code: 'ERR_VM_ENDED', vm: 'worker' });
      t.equal(await vm.stop(), exit);
      t.equal(await vm.kill(), exit);
    });
  });
