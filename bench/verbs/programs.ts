/** The C programs of this benchmark, compiled when it runs. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { packageRoot } from '../../lib/addon/index.js';

const execute = promisify(execFile);

async function compile(name: string, libraries: readonly string[]): Promise<string> {
  const folder = join(packageRoot, 'build', 'bench-verbs');
  await mkdir(folder, { recursive: true });
  const program = join(folder, name);
  const source = join(packageRoot, 'bench', 'verbs', `${name}.c`);
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra'];
  await execute('cc', [...flags, '-o', program, source, ...libraries]);
  return program;
}

export interface Programs {
  readonly loopback: string;
  readonly exchange: string;
  readonly floors: string;
  readonly registration: string;
}

/** @throws Error with the compiler's words */
export async function compilePrograms(): Promise<Programs> {
  return {
    loopback: await compile('loopback', ['-libverbs']),
    exchange: await compile('exchange', ['-libverbs']),
    floors: await compile('floors', []),
    registration: await compile('registration', ['-libverbs']),
  };
}
