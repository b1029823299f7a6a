/** A rank that runs all scenarios one after the other and says of each how it went. */
import { inspect } from 'node:util';

import { init } from '../../../lib/mpi/index.js';
import { randomFromSeed } from '../../seeded-random.js';
import { allScenarios } from '../scenarios/index.js';
import { suits } from '../scenarios/scenario.js';

const { world, finalize } = await init();
const { rank, size } = world;
const seed = Number(process.argv[2]);

for (const [index, scenario] of allScenarios.entries()) {
  if (size < scenario.ranks || !suits(scenario, process.env)) continue;
  let error: unknown;
  try {
    await scenario.run({ world, rank, size, random: randomFromSeed(seed + index) });
  } catch (thrown) {
    error = thrown;
  }
  const message = error === undefined ? undefined : inspect(error);
  console.log(JSON.stringify({ rank, name: scenario.name, message }));
  // Messages that a failed scenario left would meet the next one's receives.
  if (error !== undefined) process.exit(1);
  await world.barrier();
}
await finalize();
