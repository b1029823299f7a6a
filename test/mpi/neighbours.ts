/** Two network namespaces that ranks run in by turns: to each other the ranks are on other hosts, but for the aperture. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

import type { Test } from 'tap';

import { inNamespaceOf, joinNamespacesOf } from '../verbs/traffic/namespaces.js';

export interface Neighbourhood {
  /** A command that runs each rank in the namespace of its number. */
  readonly by: [string, ...string[]];
  /** Nothing comes through any more. */
  cut(): void;
}

/** The namespaces end with the test. */
export async function startNeighbourhood(t: Test): Promise<Neighbourhood> {
  const holders = await Promise.all([hold(t), hold(t)]);
  joinNamespacesOf([holders[0], holders[1]]);
  const choose = `case $VIADUCT_RANK in 0) pid=${holders[0]};; *) pid=${holders[1]};; esac`;
  const enter = 'exec nsenter -t "$pid" -n -- "$@"';
  return {
    by: ['sh', '-c', `${choose}; ${enter}`, 'sh', process.execPath],
    cut: () => {
      inNamespaceOf(holders[0], 'ip', 'link', 'set', 'packets0', 'down');
    },
  };
}

/** The number of a process that holds a namespace of its own. */
async function hold(t: Test): Promise<number> {
  const child = spawn('unshare', ['-n', '--', 'sh', '-c', 'echo; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child.pid as number;
}
