/** Puts a program of the test's own in the place of linux.uml. */
import { chmodSync, writeFileSync } from 'node:fs';

import type { Test } from 'tap';

/** The script finds the control channel at descriptor 3 and the true program in $UML. */
export function insteadOfUml(t: Test, script: string): void {
  const directory = t.testdir({});
  const file = `${directory}/linux.uml`;
  writeFileSync(file, `#!/bin/bash\nUML=/usr/bin/linux.uml\n${script}\n`);
  chmodSync(file, 0o755);
  const path = process.env['PATH'] ?? '';
  process.env['PATH'] = `${directory}:${path}`;
  t.teardown(() => {
    process.env['PATH'] = path;
  });
}
