/** Programs of their own over the package: for what a test can not do to itself. */
import { spawnSync } from 'node:child_process';

/** Runs a program against the package, as a user's; resolves to how it ended. */
export function run(
  program: string,
  flags: readonly string[] = [],
): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...flags, '--input-type=module', '--eval', program],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return { status, text: stdout + stderr };
}
