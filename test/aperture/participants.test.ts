/** Who takes part in an aperture. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

import t from 'tap';

import { Aperture } from '../../lib/aperture/index.js';
import { waitOnDoorbell, wakeDoorbell } from '../../lib/aperture/waiting.js';
import { DOORBELL_WORD } from '../../lib/aperture/participants.js';

t.test('an index is taken once', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096, participants: 2 });
  aperture.attach(1);
  t.throws(
    () => {
      aperture.attach(1);
    },
    { code: 'ERR_APERTURE_PARTICIPANT', message: /attached already/ },
  );
  t.equal(aperture.participants.state(0), 'empty');
  t.equal(aperture.participants.state(1), 'attached');
  t.end();
});

t.test('an index beyond the table is refused', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096, participants: 2 });
  for (const index of [2, -1, 0.5, NaN]) {
    t.throws(
      () => {
        aperture.attach(index);
      },
      { code: 'ERR_APERTURE_PARTICIPANT' },
    );
  }
  t.end();
});

t.test('a participant lives as long as its process', async (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import { Aperture } from 'viaduct/aperture';
       Aperture.open('${aperture.path}').attach(5);
       console.log('attached');
       setInterval(() => {}, 1000);`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  t.equal(aperture.participants.describe(5).pid, child.pid);
  t.equal(aperture.participants.isAlive(5), true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.equal(aperture.participants.isAlive(5), false);
  t.equal(aperture.participants.state(5), 'attached', 'nobody has said yet that it failed');
});

t.test('a failure has a reason, is counted, and is the last word', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096, participants: 3 });
  const { participants } = aperture;
  aperture.attach(1);
  t.equal(participants.failures, 0);
  participants.fail(1, 'killed by SIGKILL');
  participants.fail(1, 'another reason');
  t.equal(participants.failures, 1);
  t.equal(participants.describe(1).state, 'failed');
  t.equal(participants.describe(1).reason, 'killed by SIGKILL');
  participants.finalize(1);
  t.equal(participants.state(1), 'failed');
  t.end();
});

t.test('who has finalized cannot fail any more', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  aperture.attach(0);
  aperture.participants.finalize(0);
  aperture.participants.fail(0, 'too late');
  t.equal(aperture.participants.state(0), 'finalized');
  t.equal(aperture.participants.failures, 0);
  t.end();
});

t.test('a reason that is too long is cut', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096, participants: 2 });
  aperture.participants.fail(0, 'x'.repeat(10_000));
  t.match(aperture.participants.describe(0).reason, /^x{100,124}$/);
  t.equal(aperture.participants.state(1), 'empty', 'its neighbour is untouched');
  t.end();
});

t.test('a ring wakes the event loop of a participant that watches its doorbell', async (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  const { participants } = aperture;
  const word = participants.recordWord(0) + DOORBELL_WORD;
  const rings = new Promise<void>((resolve) => {
    const watch = aperture.watchDoorbell(word * 4, () => {
      watch.close();
      resolve();
    });
    watch.arm(Atomics.load(participants.words, word), 1000);
  });
  setImmediate(() => {
    participants.ring(0);
  });
  await rings;
  t.pass('called back');
});

t.test('a watch that is armed too late rings at once', async (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  const { participants } = aperture;
  const word = participants.recordWord(0) + DOORBELL_WORD;
  const seen = Atomics.load(participants.words, word);
  participants.ring(0);
  await new Promise<void>((resolve) => {
    const watch = aperture.watchDoorbell(word * 4, () => {
      watch.close();
      resolve();
    });
    watch.arm(seen, 1000);
  });
  t.pass('called back');
});

t.test('a watch that is not armed does not keep the process alive', async (t) => {
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import { Aperture } from 'viaduct/aperture';
       const aperture = Aperture.create({ sizeBytes: 4096 });
       const watch = aperture.watchDoorbell(4096, () => {});
       watch.arm(0, 1000);
       watch.disarm();`,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  t.equal(code, 0);
});

t.test('a sleep ends at once when the doorbell has moved already', (t) => {
  using aperture = Aperture.create({ sizeBytes: 4096 });
  const word = aperture.participants.recordWord(0) + DOORBELL_WORD;
  Atomics.add(aperture.participants.words, word, 1);
  waitOnDoorbell(aperture, word, 0, 60_000);
  t.pass('it returned');
  wakeDoorbell(aperture, word);
  t.end();
});
