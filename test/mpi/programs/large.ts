/** One large message, looked at in places that cross the bounds of 31 and 32 bits and of fragments. */
import { init } from '../../../lib/mpi/index.js';

const { world, finalize } = await init();
const byteLength = Number(process.argv[2]);
const STEP = 4093;

const bytes = new Uint8Array(byteLength);
if (world.rank === 0) {
  for (let at = 0; at < byteLength; at += STEP) bytes[at] = (at / STEP) % 251;
  bytes[byteLength - 1] = 77;
  await world.send(bytes, 1, 5);
}
if (world.rank === 1) {
  const status = await world.recv(bytes, 0, 5);
  // Not before: it is the first message that tells of the other's kernel.
  const { protocol } = world.explain(byteLength, 0);
  let wrong = -1;
  for (let at = 0; at < byteLength - 1 && wrong < 0; at += STEP) {
    if (bytes[at] !== (at / STEP) % 251 || (bytes[at + 1] !== 0 && at + 2 < byteLength)) wrong = at;
  }
  if (bytes[byteLength - 1] !== 77) wrong = byteLength - 1;
  console.log(JSON.stringify({ byteLength: status.byteLength, wrong, protocol }));
}
await finalize();
