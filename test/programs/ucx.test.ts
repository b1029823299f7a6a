/** UCX, unmodified, over the software HCA: ucx_perftest of Debian's ucx-utils. */
import t from 'tap';

import { runPair, Running, without } from './running.js';
import { openSurroundings } from './surroundings.js';
import { rowsOf } from './table.js';

const skip = without('ucx_perftest', 'ucx-utils');
const surroundings = await openSurroundings(t);

/** RC connects by datagrams, so UD is there too. */
const TRANSPORTS = { RC: 'rc_verbs,ud_verbs,self', UD: 'ud_verbs,self' };

t.test('ucx_info finds the device, its transports and its node', { skip }, async (t) => {
  const { status, output } = await new Running(t, surroundings, ['ucx_info', '-d']).ended;
  t.equal(status, 0, 'it ends with status 0', { output });
  t.match(output, /Transport: rc_verbs\n#\s+Device: softhca0:1/);
  t.match(output, /Transport: ud_verbs\n#\s+Device: softhca0:1/);
});

const QUICK = `
  -t tag_lat -s 64
  -t tag_lat -s 64 -E sleep
  -t tag_bw -s 1048576 -n 50
  -t ucp_am_lat -s 4096
  -t ucp_am_bw -s 65536 -n 100
  -t ucp_put_lat -s 8
  -t ucp_put_bw -s 65536 -n 100
  -t ucp_get -s 65536 -n 100
  -t ucp_fadd -s 8
  -t ucp_cswap -s 8
  -t stream_bw -s 16384 -n 100
`;
const LONG = `
  -t tag_lat -s 1048576 -n 50
  -t tag_lat -s 64 -e
  -t tag_lat -s 64 -M multi -T 2
  -t tag_bw -s 64 -U
  -t tag_bw -s 64,1000,30 -D iov,iov
  -t tag_bw -s 65536 -E sleep
  -t tag_sync_lat -s 4096
  -t ucp_am_bw -s 1048576 -n 50
  -t ucp_put_bw -s 1048576 -n 50
  -t ucp_get -s 1048576 -n 50
  -t ucp_get -s 8
  -t ucp_add -s 8
  -t ucp_swap -s 8
  -t ucp_fadd -s 4
  -t stream_lat -s 64
  -t stream_bw -s 1048576 -n 50
`;

for (const { line, words, remap, buffers } of rowsOf(QUICK, LONG)) {
  for (const [transport, list] of Object.entries(TRANSPORTS)) {
    t.test(`ucx_perftest ${line} measures by ${transport} ${buffers}`, { skip }, async (t) => {
      const count = words.includes('-n') ? [] : ['-n', '500'];
      const program = ['ucx_perftest', ...words, ...count, '-w', '10'];
      const env = { UCX_TLS: list, UCX_NET_DEVICES: 'softhca0:1' };
      const outputs = await runPair(t, surroundings, program, { remap, env });
      if (outputs !== undefined) t.match(outputs.client, /Final:\s+\d+\s+[\d.]+/);
    });
  }
}
