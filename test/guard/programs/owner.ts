/** Starts the guard with the arguments given and waits to be killed; says the guard's number first. */
import { spawn } from 'node:child_process';

import { builtExecutable } from '../../../lib/addon/index.js';

const guard = spawn(builtExecutable('viaduct-guard'), process.argv.slice(2), {
  stdio: ['ignore', 'ignore', 'inherit'],
});
process.stdout.write(`${guard.pid}\n`);
guard.once('exit', () => process.exit());
