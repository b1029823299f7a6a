/**
 * Ranks that never get what they wait for, because rank 1 goes away in the manner that the first
 * argument names: `stream` sends for ever until it is killed, `die` kills itself in the middle of a
 * message, `leave` exits without finalizing,
 * `absent` never joins, `devour` takes memory until there is none, `throw` throws, `compute` keeps its event loop busy for seconds before it goes on. The others report why their receive failed.
 */
import { init } from '../../../lib/mpi/index.js';

const manner = process.argv[2];
console.log(`pid ${process.pid}`);
const isVictim = (process.env['VIADUCT_RANK'] ?? process.env['PMI_RANK']) === '1';
if (isVictim && manner === 'absent') process.exit(0);

const { world, finalize } = await init();
const bytes = new Uint8Array(4 << 20);
if (isVictim && manner === 'leave') process.exit(0);
if (manner === 'compute') {
  const end = performance.now() + 3000;
  while (isVictim && performance.now() < end);
  await finalize();
  process.exit(0);
}
if (isVictim && manner === 'throw') throw new Error('the mesh is broken');
if (isVictim && manner === 'die') {
  for (let i = 0; i < 3; i++) await world.send(bytes, 0, 1);
  setImmediate(() => process.kill(process.pid, 'SIGKILL'));
}
// Kept, and touched, so that it is not given back.
for (const kept: Buffer[] = []; isVictim && manner === 'devour';)
  kept.push(Buffer.alloc(1 << 24, 1));
try {
  while (isVictim) await world.send(bytes, 0, 1);
  // The others wait for what never comes.
  if (world.rank !== 0) await world.recv(bytes, 1, 2);
  await world.recv(bytes, 1, 1);
  console.log('streaming');
  for (;;) await world.recv(bytes, 1, 1);
} catch (error) {
  console.error(`rank ${world.rank} saw: ${(error as Error).message}`);
  process.exit(5);
}
