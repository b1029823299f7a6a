/** Commands in a guest: output, status, input, environment, limits. All in one machine. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

import t from 'tap';

import { VirtualMachine, VmError } from '../../lib/vm/index.js';
import { withoutUml } from '../uml-installed.js';

t.setTimeout(120_000);

t.test('commands in a guest', { skip: withoutUml }, async (t) => {
  const vm = await VirtualMachine.boot({ name: 'worker' });
  t.teardown(() => vm.kill());

  await t.test('a machine that has booted knows its kernel and its boot phases', async (t) => {
    t.equal(vm.state, 'running');
    t.match(vm.kernel, /^\d+\.\d+/);
    t.ok(vm.bootPhases.agentMs >= vm.bootPhases.kernelMs);
    t.match(vm.consoleText, /Run \/init as init process/);
  });

  await t.test('output and exit status come back, each stream by itself', async (t) => {
    const result = await vm.exec('sh', ['-c', 'echo out; echo err >&2; exit 3']);
    t.same(result, { exitCode: 3, signal: null, stdout: 'out\n', stderr: 'err\n' });
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
