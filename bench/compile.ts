/** The C programs of the benchmarks, compiled when a benchmark runs. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { packageRoot } from '../lib/addon/index.js';

const execute = promisify(execFile);

/**
 * @param benchmark the folder beside this file where `name`.c is
 * @param options of the compiler, after the source: libraries
 * @returns the path of the program
 * @throws Error with the compiler's words
 */
export async function compileProgram(
  benchmark: string,
  name: string,
  options: readonly string[] = [],
): Promise<string> {
  const folder = join(packageRoot, 'build', `bench-${benchmark}`);
  await mkdir(folder, { recursive: true });
  const program = join(folder, name);
  const source = join(packageRoot, 'bench', benchmark, `${name}.c`);
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra'];
  await execute('cc', [...flags, '-o', program, source, ...options]);
  return program;
}
