/** Puts a program of the test's own in the place of a driver's. */
import { chmodSync, writeFileSync } from 'node:fs';

import type { Test } from 'tap';

/** The script finds the control channel at descriptor 3 and the true program in $UML. */
export function insteadOfUml(t: Test, script: string): void {
  insteadOf(t, 'linux.uml', `UML=/usr/bin/linux.uml\n${script}`);
}

/** The script finds the control channel at descriptor 3 and the monitor at 4. */
export function insteadOfQemu(t: Test, script: string): void {
  insteadOf(t, 'qemu-system-x86_64', script);
}

function insteadOf(t: Test, program: string, script: string): void {
  const directory = t.testdir({});
  const file = `${directory}/${program}`;
  writeFileSync(file, `#!/bin/bash\n${script}\n`);
  chmodSync(file, 0o755);
  const path = process.env['PATH'] ?? '';
  process.env['PATH'] = `${directory}:${path}`;
  t.teardown(() => {
    process.env['PATH'] = path;
  });
}
