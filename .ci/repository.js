// The files of the project: those that git tracks, and new ones that it does not ignore.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export function projectFiles() {
  const list = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard'], {
    encoding: 'utf8',
  });
  // A file that was deleted and not yet committed is still listed.
  return list.split('\0').filter((path) => path !== '' && existsSync(path));
}
