/** Messages of more bytes than 31 bits count. */
import { freemem } from 'node:os';
import { fileURLToPath } from 'node:url';

import t from 'tap';

import { runJob } from '../../lib/job/index.js';
import { Lines } from '../lines.js';

const BYTES = 2 ** 31 + 12_345;
const NEEDED_BYTES = 3 * BYTES;

const program = fileURLToPath(new URL('programs/large.js', import.meta.url));
const skip =
  freemem() < NEEDED_BYTES ? `needs ${NEEDED_BYTES} bytes of memory, ${freemem()} are free` : false;

for (const how of ['single-copy', 'fragments']) {
  t.test(`a message of more than 2 GiB arrives, by ${how}`, { skip }, async (t) => {
    const stdout = new Lines();
    const stderr = new Lines();
    const { exitCode } = await runJob({
      size: 2,
      command: process.execPath,
      args: [program, String(BYTES)],
      env: { ...process.env, VIADUCT_LONG_MESSAGES: how },
      label: false,
      stdout,
      stderr,
    });
    t.equal(stderr.text, '');
    t.same(JSON.parse(stdout.text || 'null'), { byteLength: BYTES, wrong: -1, protocol: how });
    t.equal(exitCode, 0);
  });
}
