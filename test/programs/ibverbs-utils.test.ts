/** The programs of Debian's ibverbs-utils, unmodified, over the software HCA. */
import t from 'tap';

import { runPair, Running, without } from './running.js';
import { openSurroundings } from './surroundings.js';

const skip = without('ibv_rc_pingpong', 'ibverbs-utils');
const surroundings = await openSurroundings(t);

for (const [words, pattern] of [
  [['ibv_devices'], /softhca0\s+[0-9a-f]{16}/],
  [['ibv_devinfo'], /hca_id:\s+softhca0[^]*state:\s+PORT_ACTIVE/],
  [['ibv_devinfo', '-v'], /max_mr_size:[^]*GID\[\s*0\]:/],
] as const) {
  t.test(`${words.join(' ')} describes the device`, { skip }, async (t) => {
    const { status, output } = await new Running(t, surroundings, words).ended;
    t.equal(status, 0, 'it ends with status 0', { output });
    t.match(output, pattern);
  });
}

t.test('ibv_asyncwatch waits for events of the device', { skip }, async (t) => {
  const watch = new Running(t, surroundings, ['stdbuf', '-oL', 'ibv_asyncwatch']);
  await watch.shown(/softhca0: async event FD \d+/);
  await watch.end('seen');
  t.match((await watch.ended).output, /softhca0: async event FD \d+/);
});

// Not -e with -t: it takes an event without a completion for an error, and there is one when one poll
// took the completions of two.
const PINGPONGS = [
  ...['ibv_rc_pingpong -c -s 20000', 'ibv_rc_pingpong -c -e', 'ibv_rc_pingpong -c -t'],
  ...['ibv_rc_pingpong -c -N', 'ibv_rc_pingpong -c -N -e'],
  ...['ibv_uc_pingpong -c -s 20000', 'ibv_uc_pingpong -c -e'],
  ...['ibv_ud_pingpong -c', 'ibv_ud_pingpong -c -e'],
  ...['ibv_srq_pingpong -c -q 4', 'ibv_srq_pingpong -c -q 4 -e'],
  ...['ibv_xsrq_pingpong', 'ibv_xsrq_pingpong -e'],
];

for (const line of PINGPONGS) {
  for (const remap of [false, true]) {
    const name = `${line} moves its data between ${remap ? 'remapped' : 'its own'} buffers`;
    t.test(name, { skip }, async (t) => {
      const words = [...line.split(' '), '-n', '200'];
      const outputs = await runPair(t, surroundings, words, { remap });
      // A program that finds wrong data says so and ends well even then.
      if (outputs !== undefined) t.notMatch(outputs.server + outputs.client, /invalid data/);
    });
  }
}
