/** The monitor's client against a QEMU that refuses, talks in pieces, goes away, or is none. */
import { createServer, connect, type Socket } from 'node:net';

import t, { type Test } from 'tap';

import { QmpClient } from '../../lib/vm/qemu/qmp.js';

/** A client whose QEMU is the test. */
async function connected(t: Test): Promise<{ client: QmpClient; qemu: Socket }> {
  // Of Linux alone: a name that is no file.
  const path = `\0viaduct-qmp-${process.pid}-${Math.random()}`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = new QmpClient(connect(path));
  const qemu = await accepted;
  qemu.setEncoding('utf8').on('error', () => {});
  server.close();
  t.teardown(() => {
    client.close();
    qemu.destroy();
  });
  return { client, qemu };
}

interface Command {
  readonly execute: string;
  readonly id: number;
}

/** Answers each command by what `answer` gives for it. */
function serve(qemu: Socket, answer: (command: Command) => object): void {
  qemu.on('data', (text: Buffer | string) => {
    for (const line of String(text).split('\n').filter(Boolean)) {
      const command = JSON.parse(line) as Command;
      qemu.write(`${JSON.stringify({ id: command.id, ...answer(command) })}\r\n`);
    }
  });
}

t.test('commands are answered, refusals are errors, events are told', async (t) => {
  const { client, qemu } = await connected(t);
  serve(qemu, ({ execute }) =>
    execute === 'stop' ? { error: { class: 'E', desc: 'not now' } } : { return: { execute } },
  );
  const greeting = '{"QMP": {"version": {}, "capabilities": []}}\r\n';
  qemu.write(greeting.slice(0, 10));
  qemu.write(greeting.slice(10));
  await client.negotiate();
  t.same(await client.execute('cont'), { execute: 'cont' });
  await t.rejects(client.execute('stop'), { name: 'QmpError', message: 'stop: not now' });
  const told = new Promise((resolve) => client.once('SHUTDOWN', resolve));
  qemu.write('{"event": "SHUTDOWN", "data": {"guest": true}, "timestamp": {}}\n');
  t.same(await told, { guest: true });
});

t.test('a QEMU that goes away fails what waits and what comes', async (t) => {
  const { client, qemu } = await connected(t);
  const waiting = client.execute('query-status');
  qemu.destroy();
  await t.rejects(waiting, { message: /closed its monitor/ });
  await t.rejects(client.execute('cont'), { message: /closed its monitor/ });
  await t.rejects(client.negotiate(), { message: /closed its monitor/ });
});

for (const garbage of ['not JSON\n', '[1, 2\n', 'null\n', '{"id": 1}{\n']) {
  t.test(`${JSON.stringify(garbage)} is not QEMU`, async (t) => {
    const { client, qemu } = await connected(t);
    const waiting = client.execute('query-status');
    qemu.write(garbage);
    await t.rejects(waiting, { message: /what QEMU does not say/ });
  });
}
