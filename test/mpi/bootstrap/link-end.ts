/** A rank's connection to the hub, and in rank 0 the hub, without a job around them: `RANK ADDRESS SILENCE-MS`. */
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

import { Hub } from '../../../lib/mpi/bootstrap/tcp/hub.js';
import { Liaison } from '../../../lib/mpi/bootstrap/tcp/liaison.js';

const [rank = '', host = '', silence = ''] = process.argv.slice(2);
const silenceMs = Number(silence);
const options = { secret: 'of both ends of the wire', size: 2, joinMs: 60_000, silenceMs };
if (rank === '0') {
  const hub = new Hub(options);
  createServer((socket) => hub.accept(socket)).listen(7000, host);
}
const liaison = await Liaison.join(
  { ...options, rank: Number(rank), hub: { host, port: 7000 } },
  {
    onBrought: (values) => console.log(`brought ${values.join(' ')}`),
    onFailed: (other, reason) => console.log(`failed ${other} ${reason}`),
    onMissing: (text) => console.log(`missing ${text}`),
    onLeft: () => console.log('left'),
    onLost: (reason) => console.log(`lost ${reason}`),
  },
);
console.log('joined');
createInterface(process.stdin).on('line', (line) => liaison.bring(line.replace('bring ', '')));
